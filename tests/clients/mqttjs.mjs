// MQTT.js as the tests see it: one command a line in, one event a line out, both JSON.
// Every command is answered by `done` or `failed`; everything else is told as it happens.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import mqtt from "mqtt";

const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");

let client;

const commands = {
  async connect({ url, options: { files = {}, ...options } }) {
    for (const [name, path] of Object.entries(files)) options[name] = readFileSync(path);
    // Never reconnect: a test that ends a connection wants to see it ended.
    client = mqtt.connect(url, { ...options, reconnectPeriod: 0, connectTimeout: 10_000 });
    client.on("message", (topic, payload) =>
      tell({ event: "message", topic, payload: payload.toString() }));
    client.on("disconnect", ({ reasonCode }) => tell({ event: "disconnect", reasonCode }));
    client.on("close", () => tell({ event: "close" }));
    await new Promise((resolve, reject) => {
      client.once("connect", resolve);
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed before CONNACK")));
    });
    // An error after the login ends the connection, which `close` tells.
    client.on("error", () => {});
  },
  async subscribe({ filters, qos }) {
    const granted = await client.subscribeAsync(filters, { qos });
    for (const { qos } of granted) if (qos > 2) throw new Error(`refused: ${qos}`);
  },
  unsubscribe: ({ filters }) => client.unsubscribeAsync(filters),
  publish: ({ topic, payload, qos }) => client.publishAsync(topic, payload, { qos }),
  disconnect: () => client.endAsync(),
  async vanish() {
    client.stream.destroy();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...args } = JSON.parse(line);
  try {
    await commands[command](args);
    tell({ event: "done", command });
  } catch (error) {
    tell({ event: "failed", command, reason: String(error) });
  }
}
process.exit(0);
