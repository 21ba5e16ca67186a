import { type DescFile, type DescService, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type DescriptorProto, type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { ReflectionService } from "@grpc/reflection";
import { service as healthService } from "grpc-health-check";
import { must } from "../common/index.ts";

/**
 * What lets a generic client list these services and call them without the .proto: the descriptors of their files and
 * of all that those import, and the health service's own.
 */
export function createReflection(services: readonly DescService[]): ReflectionService {
  const files = new Map<string, FileDescriptorProto>();
  const add = (file: DescFile): void => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file.proto);
    for (const dependency of file.dependencies) add(dependency);
  };
  for (const service of services) add(service.file);
  for (const file of readHealthFiles()) files.set(file.name, file);
  // The library reads descriptors from top-level entries of this form only; anything else it silently ignores.
  return new ReflectionService({
    services: {
      format: "Protocol Buffer 3 DescriptorProto",
      type: {},
      fileDescriptorProtos: [...files.values()].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file))),
    },
  });
}

function readHealthFiles(): FileDescriptorProto[] {
  const check = must(healthService["Check"], "method Check of the health service");
  return check.requestType.fileDescriptorProtos.map((bytes) =>
    completeFile(fromBinary(FileDescriptorProtoSchema, bytes)),
  );
}

/**
 * Gives every reference to a type of this file its full name and every field its JSON name, in place. The health
 * package's descriptors come from protobuf.js, which leaves names relative or out; not every client puts up with that.
 */
function completeFile(file: FileDescriptorProto): FileDescriptorProto {
  const known = new Set<string>();
  const collect = (scope: string, message: DescriptorProto): void => {
    const name = `${scope}.${message.name}`;
    known.add(name);
    for (const each of message.enumType) known.add(`${name}.${each.name}`);
    for (const each of message.nestedType) collect(name, each);
  };
  const resolve = (scope: string, name: string): string => {
    if (name === "" || name.startsWith(".")) return name;
    for (let at = scope; ; at = at.slice(0, at.lastIndexOf("."))) {
      if (known.has(`${at}.${name}`) || at === "") return `${at}.${name}`;
    }
  };
  const qualify = (scope: string, message: DescriptorProto): void => {
    const name = `${scope}.${message.name}`;
    for (const field of message.field) {
      field.typeName = resolve(name, field.typeName);
      field.jsonName ||= field.name.replace(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
    }
    for (const each of message.nestedType) qualify(name, each);
  };
  const root = `.${file.package}`;
  for (const message of file.messageType) collect(root, message);
  for (const each of file.enumType) known.add(`${root}.${each.name}`);
  for (const message of file.messageType) qualify(root, message);
  for (const method of file.service.flatMap((service) => service.method)) {
    method.inputType = resolve(root, method.inputType);
    method.outputType = resolve(root, method.outputType);
  }
  return file;
}
