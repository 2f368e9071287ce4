//! rumqttc as the tests see it, as `mqttjs.mjs` is MQTT.js: one command a line in, one event a line
//! out, both JSON, each with the number of the client that it is about.
//!
//! Every command is answered by `done` or `failed`; everything else is told as it happens. rumqttc has
//! a client and an event loop of its own for each version of MQTT, so `v3` and `v5` say the same in the
//! words of each.

mod v3;
mod v5;

use std::collections::HashMap;
use std::io::{BufRead, Write};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a packet comes to: the answer that a command waits for, something to tell, or nothing.
enum Heard {
    Answer(Result<Value, String>),
    Tell(Value),
    Nothing,
}

/// What the client of one version is asked; the answer is heard later.
trait Requests {
    async fn subscribe(&self, filters: Vec<String>, qos: u8) -> Result<(), String>;
    async fn unsubscribe(&self, filter: String) -> Result<(), String>;
    async fn publish(&self, message: Message) -> Result<(), String>;
    async fn disconnect(&self) -> Result<(), String>;
}

/// What its event loop hears.
trait Events {
    async fn next(&mut self) -> Result<Heard, String>;
}

/// A message to be published, or a will.
struct Message {
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
}

/// With whom and how to connect.
struct Options(Value);

/// The client that events are told of.
#[derive(Clone, Copy)]
struct Voice(u64);

fn main() {
    let mut clients: HashMap<u64, UnboundedSender<Value>> = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let command: Value = serde_json::from_str(&line).expect("a line is JSON");
        let number = command["client"].as_u64().expect("a command has a client");
        let client = clients.entry(number).or_insert_with(|| open(Voice(number)));
        // A client that has vanished hears no more.
        let _ = client.send(command);
    }
}

/// A client on a thread of its own, which ends when the client vanishes.
fn open(voice: Voice) -> UnboundedSender<Value> {
    let (sender, commands) = unbounded_channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(run(voice, commands));
    });
    sender
}

async fn run(voice: Voice, mut commands: UnboundedReceiver<Value>) {
    let Some(connect) = commands.recv().await else {
        return;
    };
    let options = Options(connect["options"].clone());
    match options.0["protocolVersion"].as_u64() {
        Some(5) => serve(voice, v5::open(&options), commands).await,
        _ => serve(voice, v3::open(&options), commands).await,
    }
}

async fn serve(
    voice: Voice,
    client: (impl Requests, impl Events),
    commands: UnboundedReceiver<Value>,
) {
    let (requests, events) = client;
    let (sender, answers) = unbounded_channel();
    tokio::select! {
        () = listen(voice, events, sender) => {}
        () = obey(voice, requests, commands, answers) => {}
    }
}

/// Never reconnects: a test that ends a connection wants to see it ended.
async fn listen(
    voice: Voice,
    mut events: impl Events,
    answers: UnboundedSender<Result<Value, String>>,
) {
    let reason = loop {
        match events.next().await {
            Ok(Heard::Answer(answer)) => drop(answers.send(answer)),
            Ok(Heard::Tell(event)) => voice.tell(event),
            Ok(Heard::Nothing) => {}
            Err(reason) => break reason,
        }
    };
    drop(events);
    voice.tell(json!({"event": "close", "reason": reason}));
    drop(answers.send(Err(reason)));
    std::future::pending().await
}

/// One command after another; the first, `connect`, is under way already.
async fn obey(
    voice: Voice,
    client: impl Requests,
    mut commands: UnboundedReceiver<Value>,
    mut answers: UnboundedReceiver<Result<Value, String>>,
) {
    let mut asked = Ok(());
    loop {
        let outcome = match asked {
            Ok(()) => answers.recv().await.unwrap_or(Err("no answer".to_owned())),
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(answer) => voice.tell(json!({"event": "done", "answer": answer})),
            Err(reason) => voice.tell(json!({"event": "failed", "reason": reason})),
        }
        let Some(command) = commands.recv().await else {
            return;
        };
        if command["command"] == "vanish" {
            // The event loop is dropped and its socket closed, and nobody says DISCONNECT.
            voice.tell(json!({"event": "done"}));
            return;
        }
        asked = ask(&client, &command).await;
    }
}

async fn ask(client: &impl Requests, command: &Value) -> Result<(), String> {
    match command["command"].as_str() {
        Some("subscribe") => client.subscribe(filters(command), qos(command)).await,
        Some("unsubscribe") => {
            let [filter] = <[String; 1]>::try_from(filters(command))
                .map_err(|_| "one filter at a time".to_owned())?;
            client.unsubscribe(filter).await
        }
        Some("publish") => client.publish(Message::from(command)).await,
        Some("disconnect") => client.disconnect().await,
        _ => Err(format!("no such command: {command}")),
    }
}

fn filters(command: &Value) -> Vec<String> {
    let listed = command["filters"].as_array().into_iter().flatten();
    listed.map(text).collect()
}

fn qos(command: &Value) -> u8 {
    command["qos"].as_u64().map_or(0, |qos| qos as u8)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Voice {
    fn tell(self, mut event: Value) {
        event["client"] = self.0.into();
        let mut out = std::io::stdout().lock();
        // Nobody to tell is the end of the tests.
        let _ = writeln!(out, "{event}").and_then(|()| out.flush());
    }
}

impl From<&Value> for Message {
    fn from(value: &Value) -> Self {
        Self {
            topic: text(&value["topic"]),
            payload: text(&value["payload"]),
            qos: qos(value),
            retain: value["retain"] == true,
        }
    }
}

impl Message {
    fn told(self) -> Heard {
        Heard::Tell(json!({
            "event": "message",
            "topic": self.topic,
            "payload": self.payload,
            "qos": self.qos,
            "retain": self.retain,
        }))
    }
}

impl Options {
    fn text(&self, name: &str) -> String {
        text(&self.0[name])
    }

    /// The host, or for a WebSocket the URL, as rumqttc wants it.
    fn address(&self) -> String {
        let name = if self.is_web_socket() { "url" } else { "host" };
        self.text(name)
    }

    fn port(&self) -> u16 {
        self.0["port"].as_u64().map_or(0, |port| port as u16)
    }

    fn login(&self) -> Option<(String, String)> {
        let user = self.0["username"].as_str()?;
        Some((user.to_owned(), self.text("password")))
    }

    /// For how long the session is kept after the connection, in seconds; `None` means not at all.
    fn session_expiry_secs(&self) -> Option<u32> {
        let secs = self.0["session_expiry_secs"].as_u64()?;
        u32::try_from(secs).ok()
    }

    fn will(&self) -> Option<Message> {
        self.0["will"].is_object().then(|| (&self.0["will"]).into())
    }

    fn is_web_socket(&self) -> bool {
        self.0["url"].is_string()
    }

    fn transport(&self) -> rumqttc::Transport {
        let files = &self.0["files"];
        let read = |name: &str| std::fs::read(text(&files[name])).expect("a file of the test");
        let tls = files.is_object().then(|| {
            let own = files["cert"].is_string();
            (read("ca"), own.then(|| (read("cert"), read("key"))))
        });
        match (tls, self.is_web_socket()) {
            (None, false) => rumqttc::Transport::tcp(),
            (None, true) => rumqttc::Transport::ws(),
            (Some((ca, own)), false) => rumqttc::Transport::tls(ca, own, None),
            (Some((ca, own)), true) => rumqttc::Transport::wss(ca, own, None),
        }
    }
}

/// Of a packet in either direction, in bytes.
const PACKET_BYTES_MAX: u32 = 1 << 20;
/// Requests that wait for the event loop; the tests ask one thing at a time.
const REQUESTS_MAX: usize = 10;
