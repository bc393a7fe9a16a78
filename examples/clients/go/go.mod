// `go mod tidy` adds the requirements.
module example.com/motet-go-example

go 1.22
