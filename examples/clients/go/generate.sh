#!/bin/sh
# Generate the Go code of Motet's protos in this folder: sh generate.sh PROTOS
#
# It needs protoc, protoc-gen-go and protoc-gen-go-grpc. PROTOS is the folder that `motet protos` writes. The protos name
# no Go package, because the code belongs to the module of its user. So each file gets its package here.
set -eu
module=example.com/motet-go-example
out=$(cd "$(dirname "$0")" && pwd)
cd "$1"
for file in buf/validate/validate.proto motet/v1/*.proto; do
    package="M$file=$module/$(dirname "$file")"
    set -- "$@" "--go_opt=$package" "--go-grpc_opt=$package"
done
shift
${PROTOC:-protoc} -I . "--go_out=$out" "--go_opt=module=$module" "--go-grpc_out=$out" "--go-grpc_opt=module=$module" \
    "$@" buf/validate/validate.proto motet/v1/*.proto
