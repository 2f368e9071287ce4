// MQTT.js as the tests see it: one command a line in, one event a line out, both JSON.
// Every command is answered by `done` or `failed`; everything else is told as it happens.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import mqtt from "mqtt";

const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");

let client;

const commands = {
  async connect({ options: { url, files = {}, ...options } }) {
    for (const [name, path] of Object.entries(files)) options[name] = readFileSync(path);
    // Never reconnect: a test that ends a connection wants to see it ended.
    client = mqtt.connect(url, { ...options, reconnectPeriod: 0, connectTimeout: 10_000 });
    client.on("message", (topic, payload, { qos, retain }) =>
      tell({ event: "message", topic, payload: payload.toString(), qos, retain }));
    client.on("disconnect", ({ reasonCode }) => tell({ event: "disconnect", reasonCode }));
    client.on("close", () => tell({ event: "close" }));
    const { sessionPresent } = await new Promise((resolve, reject) => {
      client.once("connect", resolve);
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed before CONNACK")));
    });
    // An error after the login ends the connection, which `close` tells.
    client.on("error", () => {});
    return { sessionPresent };
  },
  async subscribe({ filters, qos }) {
    const granted = await client.subscribeAsync(filters, { qos });
    for (const { qos } of granted) if (qos > 2) throw new Error(`refused: ${qos}`);
  },
  async unsubscribe({ filters }) {
    await client.unsubscribeAsync(filters);
  },
  async publish({ topic, payload, qos, retain }) {
    await client.publishAsync(topic, payload, { qos, retain });
  },
  async disconnect() {
    await client.endAsync();
  },
  async vanish() {
    client.stream.destroy();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...args } = JSON.parse(line);
  try {
    tell({ event: "done", command, answer: await commands[command](args) });
  } catch (error) {
    tell({ event: "failed", command, reason: String(error) });
  }
}
process.exit(0);
