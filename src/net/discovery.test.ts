import {
  create,
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { Client, credentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Loopback } from "../../test/fixtures/loopback.ts";
import { must } from "../common/index.ts";

/** The parts of grpc.reflection.v1 that a client needs. @see grpc/reflection/v1/reflection.proto */
const REFLECTION = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "reflection.proto",
    package: "grpc.reflection.v1",
    syntax: "proto3",
    messageType: [
      { name: "Request", field: [stringField("file_containing_symbol", 4), stringField("list_services", 7)] },
      {
        name: "Files",
        field: [{ name: "protos", jsonName: "protos", number: 1, type: Type.BYTES, label: Label.REPEATED }],
      },
      { name: "Service", field: [stringField("name", 1)] },
      { name: "Services", field: [{ ...messageField("services", 1, "Service"), label: Label.REPEATED }] },
      { name: "Response", field: [messageField("files", 4, "Files"), messageField("services", 6, "Services")] },
    ],
  }),
  () => undefined,
);

function stringField(name: string, number: number) {
  return { name, jsonName: name, number, type: Type.STRING, label: Label.OPTIONAL };
}

function messageField(name: string, number: number, type: string) {
  return {
    name,
    jsonName: name,
    number,
    type: Type.MESSAGE,
    typeName: `.grpc.reflection.v1.${type}`,
    label: Label.OPTIONAL,
  };
}

function messageOf(registry: FileRegistry, name: string): DescMessage {
  return must(registry.getMessage(name), name);
}

/** A client that knows nothing but the address and the reflection protocol. */
class GenericClient {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure());
  }

  close(): void {
    this.#client.close();
  }

  async listServices(): Promise<string[]> {
    const response = await this.#reflect({ list_services: "*" });
    const { services } = response["services"] as { services: { name: string }[] };
    return services.map((service) => service.name).sort();
  }

  /** Calls `service/method` by descriptors that the server itself hands out. */
  async call(service: string, method: string, request: JsonObject): Promise<JsonValue> {
    const response = await this.#reflect({ file_containing_symbol: service });
    const { protos } = response["files"] as { protos: string[] };
    const file = protos.map((text) => fromBinary(FileDescriptorProtoSchema, Buffer.from(text, "base64")));
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
    const found = must(registry.getService(service), service).methods.find((each) => each.name === method);
    const { input, output } = must(found, method);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${service}/${method}`,
        (bytes: Buffer) => bytes,
        (bytes) => toJson(output, fromBinary(output, bytes)),
        Buffer.from(toBinary(input, fromJson(input, request))),
        { deadline: Date.now() + 30_000 },
        (error, value) => (error === null ? resolve(value ?? null) : reject(error)),
      );
    });
  }

  #reflect(request: JsonObject): Promise<JsonObject> {
    const input = messageOf(REFLECTION, "grpc.reflection.v1.Request");
    const output = messageOf(REFLECTION, "grpc.reflection.v1.Response");
    return new Promise((resolve, reject) => {
      const call = this.#client.makeBidiStreamRequest(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        (bytes: Buffer) => bytes,
        (bytes) => toJson(output, fromBinary(output, bytes)) as JsonObject,
        { deadline: Date.now() + 30_000 },
      );
      call.on("error", reject);
      call.on("data", resolve);
      call.write(Buffer.from(toBinary(input, fromJson(input, request))));
      call.end();
    });
  }
}

function checkHealth(client: GenericClient, service: string): Promise<JsonValue> {
  return client.call("grpc.health.v1.Health", "Check", { service });
}

describe("a generic gRPC client", () => {
  let loopback: Loopback;
  let generic: GenericClient;
  beforeEach(async () => {
    loopback = await Loopback.start();
    generic = new GenericClient(loopback.address);
  });
  afterEach(async () => {
    generic.close();
    await loopback.close();
  });

  it("lists the services", async () => {
    expect(await generic.listServices()).toEqual(
      expect.arrayContaining(["grpc.health.v1.Health", "noodle.v1.StageService"]),
    );
  });

  it("calls Ping and ReportCapabilities from the descriptors that the server gives", async () => {
    const payload = Buffer.from("hello").toString("base64");
    const pong = await generic.call("noodle.v1.StageService", "Ping", { payload });
    expect(pong).toMatchObject({ payload, nodeId: "stage" });
    const report = await generic.call("noodle.v1.StageService", "ReportCapabilities", {});
    expect(report).toMatchObject({ capabilities: { nodeId: "stage", cores: 2 } });
  });

  it("asks for the health of the server and of each service", async () => {
    expect(await checkHealth(generic, "")).toEqual({ status: "SERVING" });
    expect(await checkHealth(generic, "noodle.v1.StageService")).toEqual({ status: "SERVING" });
    await expect(checkHealth(generic, "noodle.v1.Unknown")).rejects.toMatchObject({ code: 5 });
    loopback.server.setServing(false);
    expect(await checkHealth(generic, "noodle.v1.StageService")).toEqual({ status: "NOT_SERVING" });
  });
});
