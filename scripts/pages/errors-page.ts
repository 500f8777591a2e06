/** docs/errors.md, made from the table of errors. */
import { ERROR_TABLE, RpcCode, type ErrorRow } from "../../runtime/core/errors.ts";

const RPC_NAMES = new Map<number, string>(Object.entries(RpcCode).map(([name, code]) => [code, name]));

const HEAD = `# Errors

<!-- Made from runtime/core/errors.ts by \`node scripts/generate-docs.ts\`; a test holds it to the code. -->

Every failed call carries a \`google.rpc.Status\` in its \`grpc-status-details-bin\` trailer. Its \`ErrorInfo\` has the
domain \`sirsi\` and one of the reasons below, which are stable: program against the reason, not against the message.

| detail | when it is there |
|---|---|
| \`ErrorInfo.metadata\` | facts for programs, such as the id or the limit that the error is about |
| \`BadRequest\` | the request's fields that are wrong |
| \`PreconditionFailure\` | what must hold before the call can succeed |
| \`RetryInfo\` | how long to wait before the next try: with every error that the table lets you retry, save a deadline, which was yours |

"Retry" says whether the same request may succeed later, unchanged. A repeated message takes effect once if it
carries the same \`message_id\`.

| reason | gRPC status | retry | meaning | what to do |
|---|---|---|---|---|
`;

export function errorsPage(): string {
  const rows = Object.entries<ErrorRow>(ERROR_TABLE).map(
    ([code, row]) => `| \`${code}\` | ${RPC_NAMES.get(row.rpc) ?? row.rpc} | ${row.retry ? "yes" : "no"} | ${row.meaning} | ${row.next} |`,
  );
  return `${HEAD}${rows.join("\n")}\n`;
}
