//! A receiver that does as it is told, byte by byte.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What to do once a request has been read.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Send this and wait for the next request.
    Answer(String),
    /// Send this and close.
    AnswerAndClose(String),
    /// Send the first text, then the second again and again.
    Endless(String, String),
    /// Send this and then nothing, and do not close.
    Hang(String),
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub(crate) fn ok() -> Act {
    Act::Answer(OK.to_owned())
}

/// An answer with a status line, headers and no body.
pub(crate) fn status(status: u16, headers: &str) -> Act {
    Act::Answer(format!(
        "HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n"
    ))
}

/// What has been seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    /// How many of them are still served.
    pub(crate) open: usize,
    /// Head and body as they came.
    pub(crate) requests: Vec<String>,
}

pub(crate) struct Receiver {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Acts on the requests in turn, on whichever connection they come; then closes.
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        Self::start_on("127.0.0.1", acts).await
    }

    pub(crate) async fn start_on(ip: &str, acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(serve(listener, acts, Arc::clone(&seen)));
        Self { port, seen, task }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Waits until the sender has closed every connection.
    pub(crate) async fn until_all_closed(&self) {
        while self.seen.lock().unwrap().open > 0 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acts: Vec<Act>, seen: Arc<Mutex<Seen>>) {
    let acts = Arc::new(Mutex::new(acts.into_iter()));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut counts = seen.lock().unwrap();
        counts.connections += 1;
        counts.open += 1;
        drop(counts);
        let (acts, seen) = (Arc::clone(&acts), Arc::clone(&seen));
        // An error means that the sender has gone, which is what some tests are about.
        tokio::spawn(async move {
            talk::<TcpStream>(stream, &acts, &seen).await.ok();
            seen.lock().unwrap().open -= 1;
        });
    }
}

/// Serves one connection until the acts are used up.
pub(crate) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    acts: &Mutex<std::vec::IntoIter<Act>>,
    seen: &Mutex<Seen>,
) -> io::Result<()> {
    loop {
        let request = read_request(&mut stream).await?;
        seen.lock().unwrap().requests.push(request);
        let Some(act) = acts.lock().unwrap().next() else {
            return Ok(());
        };
        match act {
            Act::Answer(text) => stream.write_all(text.as_bytes()).await?,
            Act::AnswerAndClose(text) => return stream.write_all(text.as_bytes()).await,
            Act::Endless(first, then) => {
                stream.write_all(first.as_bytes()).await?;
                loop {
                    stream.write_all(then.as_bytes()).await?;
                }
            }
            Act::Hang(text) => {
                stream.write_all(text.as_bytes()).await?;
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        request.push(char::from(stream.read_u8().await?));
    }
    let length = header(&request, "content-length").expect("a request has a length");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    request.push_str(&String::from_utf8(body).unwrap());
    Ok(request)
}

/// The value of a header of a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.split("\r\n\r\n").next()?.split("\r\n").skip(1);
    lines.find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
