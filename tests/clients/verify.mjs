// One webhook request verified by a published library: JSON in, JSON out.

import { readFileSync } from "node:fs";

const { package: name, secret, body, headers } = JSON.parse(readFileSync(0, "utf8"));
const { Webhook } = await import(name);
let answer;
try {
  answer = { event: new Webhook(secret).verify(body, headers) };
} catch (error) {
  answer = { refused: String(error) };
}
process.stdout.write(JSON.stringify(answer));
