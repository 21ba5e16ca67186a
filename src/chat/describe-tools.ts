/**
 * The system text for a model whose template knows no tools: the form of calls is the one that most models have seen.
 *
 * @param tools as the template would get them
 */
export function describeTools(tools: readonly unknown[]): string {
  return [
    "You can call the functions below. Each line describes one: its name, what it does, and the JSON Schema of its arguments.",
    "<tools>",
    ...tools.map((tool) => JSON.stringify(tool)),
    "</tools>",
    "To call one, write a JSON object with its name and arguments between these tags, and wait for the answer:",
    '<tool_call>\n{"name": "function-name", "arguments": {"argument": "value"}}\n</tool_call>',
    "If no function helps, answer as usual.",
  ].join("\n");
}
