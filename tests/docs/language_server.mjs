// Answers questions about specs as editors do, by vscode's language service for JSON.
// stdin: {"schema": ..., "questions": [{"text": ..., "at": offset or null}]}; stdout: an answer for each.
// Without a schema, each text names a file with one in "$schema".
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const require = createRequire(process.argv[2] + "/");
const { getLanguageService, TextDocument } = require("vscode-json-languageservice");
const { schema, questions } = JSON.parse(readFileSync(0, "utf8"));
const service = getLanguageService({ schemaRequestService: (uri) => readFile(fileURLToPath(uri), "utf8"), workspaceContext: { resolveRelativePath: (path, base) => new URL(path, base).href }, clientCapabilities: { textDocument: { completion: { completionItem: { documentationFormat: ["plaintext"] } } } } });
service.configure({ validate: true, schemas: schema ? [{ uri: "file:///schema.json", fileMatch: ["*"], schema }] : [] });

const answers = [];
for (const [number, { text, at }] of questions.entries()) {
  const document = TextDocument.create(`file:///${number}.json`, "json", 1, text);
  const parsed = service.parseJSONDocument(document);
  const answer = { faults: (await service.doValidation(document, parsed)).map((fault) => ({ message: fault.message, text: document.getText(fault.range) })) };
  if (at !== null) {
    const position = document.positionAt(at);
    answer.labels = (await service.doComplete(document, position, parsed)).items.map((item) => item.label);
    const hover = await service.doHover(document, position, parsed);
    answer.hover = hover === null ? "" : [hover.contents].flat().map((part) => part.value ?? part).join("\n");
  }
  answers.push(answer);
}
process.stdout.write(JSON.stringify(answers));
