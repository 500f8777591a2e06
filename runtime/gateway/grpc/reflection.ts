/** Server reflection, v1 and v1alpha, from the descriptors that the generated code carries. */
import { toBinary, type DescFile, type DescService } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { ReflectionService } from "@grpc/reflection";
import { service as healthService } from "grpc-health-check";

/** The part of proto-loader's package definition that reflection reads. */
type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0];

export function reflectionOf(services: readonly DescService[]): ReflectionService {
  const files = new Map<string, Buffer>();
  for (const service of services) addFile(service.file, files);
  const definition = {
    sirsi: { fileDescriptorProtos: [...files.values()] },
    health: { fileDescriptorProtos: healthFiles() },
  };
  // A real definition has the methods' codecs too, which reflection never looks at.
  return new ReflectionService(definition as unknown as PackageDefinition);
}

/** A file and all that it imports. */
function addFile(file: DescFile, files: Map<string, Buffer>): void {
  if (files.has(file.name)) return;
  files.set(file.name, Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
  for (const dependency of file.dependencies) addFile(dependency, files);
}

/** The health service comes with descriptors of its own. */
function healthFiles(): Buffer[] {
  return Object.values(healthService).flatMap((method) => method.requestType.fileDescriptorProtos);
}
