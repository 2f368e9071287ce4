// MQTT.js as the tests see it: one command a line in, one event a line out, both JSON, each with the
// number of the client that it is about.
// Every command is answered by `done` or `failed`; everything else is told as it happens.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import mqtt from "mqtt";

const clients = new Map();

class Client {
  constructor(number) {
    this.number = number;
  }

  tell(event) {
    process.stdout.write(JSON.stringify({ client: this.number, ...event }) + "\n");
  }

  async obey(command, args) {
    try {
      this.tell({ event: "done", answer: await this[command](args) });
    } catch (error) {
      this.tell({ event: "failed", command, reason: String(error) });
    }
  }

  async connect({ options: { url, files = {}, ...options } }) {
    for (const [name, path] of Object.entries(files)) options[name] = readFileSync(path);
    // Never reconnect: a test that ends a connection wants to see it ended.
    const client = mqtt.connect(url, { ...options, reconnectPeriod: 0, connectTimeout: 10_000 });
    this.mqtt = client;
    client.on("message", (topic, payload, { qos, retain }) =>
      this.tell({ event: "message", topic, payload: payload.toString(), qos, retain }));
    client.on("disconnect", ({ reasonCode }) => this.tell({ event: "disconnect", reasonCode }));
    // An error after the login ends the connection, which `close` tells.
    client.on("error", () => {});
    client.on("close", () => this.tell({ event: "close" }));
    const { sessionPresent } = await new Promise((resolve, reject) => {
      client.once("connect", resolve);
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed before CONNACK")));
    });
    return { sessionPresent };
  }

  async subscribe({ filters, qos }) {
    const granted = await this.mqtt.subscribeAsync(filters, { qos });
    for (const { qos } of granted) if (qos > 2) throw new Error(`refused: ${qos}`);
  }

  async unsubscribe({ filters }) {
    await this.mqtt.unsubscribeAsync(filters);
  }

  async publish({ topic, payload, qos, retain }) {
    await this.mqtt.publishAsync(topic, payload, { qos, retain });
  }

  async disconnect() {
    await this.mqtt.endAsync();
  }

  async vanish() {
    clients.delete(this.number);
    this.mqtt.stream.destroy();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { client: number, command, ...args } = JSON.parse(line);
  if (!clients.has(number)) clients.set(number, new Client(number));
  clients.get(number).obey(command, args);
}
process.exit(0);
