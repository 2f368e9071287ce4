//! One client: its socket, and what of it is not read or written yet.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream as Stream;

use super::super::packets;

/// A server that is silent for this long while a client waits has failed.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A client that has sent CONNECT, and perhaps SUBSCRIBE, and waits for the answers.
pub(super) struct Calling {
    stream: TcpStream,
    qos: Option<u8>,
}

impl Calling {
    /// Connects; with `subscription`, a topic and its QoS, subscribes too.
    pub(super) fn call(
        target: SocketAddr,
        number: usize,
        subscription: Option<(&str, u8)>,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(target).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut opening = packets::connect(number);
        if let Some((topic, qos)) = subscription {
            opening.extend(packets::subscribe_to(topic, qos));
        }
        stream.write_all(&opening)?;
        let qos = subscription.map(|(_, qos)| qos);
        Ok(Self { stream, qos })
    }

    /// Waits for CONNACK and SUBACK.
    pub(super) fn answered(mut self) -> Result<Client> {
        let (mut input, mut buffer) = (Vec::new(), [0; 512]);
        let mut is_connected = false;
        loop {
            if !is_connected {
                is_connected = packets::take_connack(&mut input)?;
            }
            let is_ready = is_connected
                && match self.qos {
                    Some(qos) => packets::take_suback_of(&mut input, qos)?,
                    None => true,
                };
            if is_ready {
                break;
            }
            let length = self.stream.read(&mut buffer).context("no answer")?;
            ensure!(length > 0, "the server closed the connection");
            input.extend_from_slice(&buffer[..length]);
        }
        ensure!(input.is_empty(), "the server sent {input:02x?}");
        self.stream.set_nonblocking(true)?;
        Ok(Client {
            stream: Stream::from_std(self.stream),
            input,
            output: Vec::new(),
            last_packet_id: 0,
            unacknowledged: 0,
        })
    }
}

/// A connected client.
pub(super) struct Client {
    pub(super) stream: Stream,
    input: Vec<u8>,
    output: Vec<u8>,
    last_packet_id: u16,
    /// QoS 1 messages published and not acknowledged.
    pub(super) unacknowledged: usize,
}

/// What a client has got.
pub(super) enum Got<'a> {
    /// A message with this payload.
    Message(&'a [u8]),
    /// PUBACK.
    Acknowledgement,
}

impl Client {
    /// Puts a PUBLISH into the output.
    pub(super) fn publish(&mut self, topic: &str, qos: u8, payload: &[u8]) {
        let packet_id = (qos == 1).then(|| {
            self.unacknowledged += 1;
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            self.last_packet_id
        });
        packets::push_publish(&mut self.output, topic, packet_id, payload);
    }

    /// Sends what the socket takes. What it does not take goes with the next call.
    pub(super) fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot write"),
            }
        }
        Ok(())
    }

    /// Reads all there is, calls `each` for every packet and acknowledges messages.
    pub(super) fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(Got<'_>)) -> Result<()> {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot read"),
            };
            let mut input = std::mem::take(&mut self.input);
            if input.is_empty() {
                let used = self.take_packets(&buffer[..length], &mut each)?;
                input.extend_from_slice(&buffer[used..length]);
            } else {
                input.extend_from_slice(&buffer[..length]);
                let used = self.take_packets(&input, &mut each)?;
                input.drain(..used);
            }
            self.input = input;
            if length < buffer.len() {
                break;
            }
        }
        self.flush()
    }

    /// Handles each whole packet. Answers how many bytes those were.
    fn take_packets(&mut self, bytes: &[u8], each: &mut impl FnMut(Got<'_>)) -> Result<usize> {
        let mut used = 0;
        while let [kind, length, rest @ ..] = &bytes[used..] {
            ensure!(*length < 128, "a longer packet than was published");
            let Some(body) = rest.get(..usize::from(*length)) else {
                break;
            };
            used += 2 + body.len();
            match kind {
                0x30 | 0x32 => {
                    let payload = self.take_publish(body, *kind == 0x32);
                    each(Got::Message(payload.context("a malformed PUBLISH")?));
                }
                0x40 => {
                    ensure!(
                        body.get(2).is_none_or(|code| *code == 0),
                        "refused: {body:02x?}"
                    );
                    self.unacknowledged -= 1;
                    each(Got::Acknowledgement);
                }
                _ => bail!("unexpected packet {kind:#04x} {body:02x?}"),
            }
        }
        Ok(used)
    }

    fn take_publish<'a>(&mut self, body: &'a [u8], is_acknowledged: bool) -> Option<&'a [u8]> {
        let topic_length = u16::from_be_bytes([*body.first()?, *body.get(1)?]);
        let mut rest = body.get(2 + usize::from(topic_length)..)?;
        if is_acknowledged {
            let packet_id = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
            packets::push_puback(&mut self.output, packet_id);
            rest = &rest[2..];
        }
        let properties = usize::from(*rest.first()?);
        rest.get(1 + properties..)
    }
}
