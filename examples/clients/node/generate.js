// Send a prompt with pictures, sounds or clips to Motet, stream the text, and save the media of the answer.
//
//   motet protos --out protos
//   npm install
//   MOTET_API_KEY=... node generate.js "What is in this picture?" turtle.png --server localhost:50050 --tls-ca ca.pem
//
// Exit codes: 0 the answer is complete, 1 there is no answer, 2 the arguments are wrong, 3 some parts failed.

import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

// Maximum size of media in a request, in bytes. Larger media are uploaded with ArtifactService first.
const MAX_INLINE_BYTES = 2 ** 20;
const ATTEMPTS = 5;
const EXTENSIONS = { "image/png": "png", "audio/wav": "wav", "video/mp4": "mp4" };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: "string", default: process.env.MOTET_SERVER ?? "localhost:50050" },
    "tls-ca": { type: "string", default: process.env.MOTET_TLS_CA },
    protos: { type: "string", default: "protos" },
    out: { type: "string", default: "motet-out" },
    timeout: { type: "string", default: "120" },
  },
});

/** Return the constructors of the services in motet.v1. */
function loadServices(folder) {
  const files = ["generation_service", "artifact_service"].map((name) => `motet/v1/${name}.proto`);
  const definitions = protoLoader.loadSync(files, {
    includeDirs: [folder],
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  return grpc.loadPackageDefinition(definitions).motet.v1;
}

/** Return a function from an error of gRPC to its details, by the names of their messages. */
function loadDetails(folder) {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) => join(folder, target);
  root.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);
  const ofStatus = (status) =>
    Object.fromEntries(
      status.details.map((any) => {
        const name = any.type_url.slice(any.type_url.lastIndexOf("/") + 1);
        return [name.replace("google.rpc.", ""), root.lookupType(name).decode(any.value)];
      }),
    );
  return (error) => {
    const [status] = error.metadata?.get("grpc-status-details-bin") ?? [];
    return status ? ofStatus(root.lookupType("google.rpc.Status").decode(status)) : {};
  };
}

/** Return the credentials of the channel. gRPC sends the key over TLS only. */
function credentialsOf(authorities, key) {
  if (!authorities) {
    if (key) throw new Error("a key is sent over TLS only: set --tls-ca");
    return grpc.credentials.createInsecure();
  }
  const channel = grpc.credentials.createSsl(readFileSync(authorities));
  if (!key) return channel;
  const call = grpc.credentials.createFromMetadataGenerator((_, callback) => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${key}`);
    callback(null, metadata);
  });
  return grpc.credentials.combineChannelCredentials(channel, call);
}

/** Return the text without characters that could control the terminal. A model generated it. */
function printable(text) {
  return text.replace(/[^\P{C}\n\t]/gu, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

/** Return the bytes of a part: its chunks, or its artifact if the server sent no chunks. */
async function contentOf(part, done, artifacts) {
  let data = Buffer.concat(part.chunks);
  if (data.length === 0) {
    const chunks = [];
    for await (const { chunk } of artifacts.downloadArtifact({ name: done.artifact.name })) chunks.push(chunk);
    data = Buffer.concat(chunks);
  }
  if (!createHash("sha256").update(data).digest().equals(done.sha256)) throw new Error("the media arrived damaged");
  return data;
}

/** Print the text of one answer, and save its media. Return the final generation. */
async function answer(request, generations, artifacts) {
  const parts = new Map();
  const deadline = Date.now() + 1000 * Number(options.timeout);
  for await (const { events } of generations.generate(request, { deadline })) {
    for (const event of events) {
      switch (event.event) {
        case "partStarted":
          parts.set(event.partStarted.partId, { ...event.partStarted, chunks: [] });
          break;
        case "partDelta":
          if (event.partDelta.chunk === "text") process.stdout.write(printable(event.partDelta.text));
          else parts.get(event.partDelta.partId).chunks.push(event.partDelta.data);
          break;
        case "partDone": {
          const part = parts.get(event.partDone.partId);
          if (part.modality === "text") break;
          const extension = EXTENSIONS[part.mediaType] ?? "bin";
          const file = join(options.out, `${String(part.index).padStart(2, "0")}.${extension}`);
          mkdirSync(options.out, { recursive: true });
          // "wx": never overwrite a file.
          writeFileSync(file, await contentOf(part, event.partDone, artifacts), { flag: "wx" });
          console.log(`\n[${printable(part.modality)}: ${file}]`);
          break;
        }
        case "partFailed":
          console.log(`\n[a part failed: ${printable(event.partFailed.error.message)}]`);
          break;
        case "done":
          return event.done.generation;
      }
    }
  }
  throw new Error("the server ended the stream without the event done");
}

/** Call `answer`, again if the server is overloaded: a refused request had no effect. */
async function answerWithRetries(request, generations, artifacts, details) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await answer(request, generations, artifacts);
    } catch (error) {
      const { RetryInfo: retry } = details(error);
      if (error.code !== grpc.status.RESOURCE_EXHAUSTED || !retry || attempt === ATTEMPTS) throw error;
      const seconds = Number(retry.retryDelay.seconds) + retry.retryDelay.nanos / 1e9;
      console.error(`the server is busy, or a quota is used up: again in ${seconds.toFixed(1)} s`);
      await sleep(1000 * seconds);
    }
  }
}

async function main() {
  const [prompt, ...files] = positionals;
  if (!prompt) {
    console.error("usage: node generate.js PROMPT [FILE ...] [--server HOST:PORT] [--tls-ca FILE] [--out DIR]");
    return 2;
  }
  const media = files.map((file) => ({ media: { data: readFileSync(file) } }));
  const large = files.find((_, index) => media[index].media.data.length > MAX_INLINE_BYTES);
  if (large) {
    console.error(`${large} has more than 1 MiB: upload it with ArtifactService, and send the artifact's name`);
    return 2;
  }
  const services = loadServices(options.protos);
  const details = loadDetails(options.protos);
  const credentials = credentialsOf(options["tls-ca"], process.env.MOTET_API_KEY);
  const generations = new services.GenerationService(options.server, credentials);
  const artifacts = new services.ArtifactService(options.server, credentials);
  const request = { requestId: randomUUID(), turns: [{ role: "ROLE_USER", parts: [{ text: prompt }, ...media] }] };
  try {
    const generation = await answerWithRetries(request, generations, artifacts, details);
    console.log(`\n${generation.state} ${generation.name}`);
    return generation.state === "STATE_SUCCEEDED" ? 0 : 3;
  } catch (error) {
    const { ErrorInfo: info, RequestInfo: sent } = details(error);
    console.error(`${grpc.status[error.code] ?? "error"}: ${printable(error.details ?? error.message)}`);
    if (info) console.error(`reason ${info.reason}`, info.metadata);
    if (sent) console.error(`request id ${sent.requestId}`);
    return 1;
  } finally {
    generations.close();
    artifacts.close();
  }
}

process.exitCode = await main();
