//! Where attempts may go, with a resolver that lies.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use webhook::{
    address::{AddressError, AddressKind, AddressPolicy},
    deliver::{Resolve, Resolving, Signing, SystemResolver},
    outcome::{DownReason, Outcome},
};

use crate::{
    DELIVERED, allowing, client_with, deliver,
    receiver::{Act, OK, Receiver, ok},
    settings,
};

/// Gives its answers one after the other, whatever the name.
struct Script(Mutex<Vec<&'static [&'static str]>>);

impl Script {
    fn new(answers: &[&'static [&'static str]]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.iter().rev().copied().collect())))
    }
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
        let answer = self.0.lock().unwrap().pop();
        let addresses = answer.map(|texts| texts.iter().map(|text| text.parse().unwrap()));
        let addresses: Option<Vec<IpAddr>> = addresses.map(Iterator::collect);
        Box::pin(async move { addresses.ok_or_else(|| io::Error::other("no such name")) })
    }
}

async fn outcome(
    policy: AddressPolicy,
    resolver: Arc<dyn Resolve>,
    host: &str,
    port: u16,
) -> Outcome {
    let url = format!("http://{host}:{port}/");
    let client = client_with(settings(), policy, b"", resolver);
    deliver(&client.endpoint(&url, Signing::default()).unwrap()).await
}

fn refused(kind: AddressKind) -> Outcome {
    DownReason::Address(AddressError { kind }).into()
}

#[tokio::test]
async fn an_inner_address_is_not_dialled_however_it_is_written() {
    let receiver = Receiver::start(vec![ok()]).await;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f.1",
    ] {
        let resolver = Arc::new(SystemResolver);
        let outcome = outcome(AddressPolicy::default(), resolver, host, receiver.port).await;
        assert_eq!(outcome, refused(AddressKind::Loopback), "{host}");
    }
    assert_eq!(receiver.connections(), 0);
}

/// 127.0.0.2 stands for the public address of whoever owns the name.
#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere_else() {
    let public = Receiver::start_on("127.0.0.2", vec![Act::AnswerAndClose(OK.to_owned())]).await;
    let resolver = Script::new(&[&["127.0.0.2"], &["127.0.0.1"], &["169.254.169.254"]]);
    let client = client_with(settings(), allowing("127.0.0.2/32"), b"", resolver);
    let url = format!("http://receiver.example:{}/", public.port);
    let endpoint = client.endpoint(&url, Signing::default()).unwrap();
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    assert_eq!(deliver(&endpoint).await, refused(AddressKind::Loopback));
    assert_eq!(deliver(&endpoint).await, refused(AddressKind::Metadata));
    assert_eq!(public.connections(), 1);
}

#[tokio::test]
async fn every_address_of_a_name_is_checked_for_itself() {
    let receiver = Receiver::start_on("127.0.0.2", vec![ok()]).await;
    let resolver = Script::new(&[&["127.0.0.1", "10.0.0.1", "127.0.0.2"]]);
    let policy = allowing("127.0.0.2/32");
    assert_eq!(
        outcome(policy, resolver, "receiver.example", receiver.port).await,
        DELIVERED
    );
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_connect() {
    let receiver = Receiver::start_on("127.0.0.2", vec![ok()]).await;
    let resolver = Script::new(&[&["127.0.0.3", "127.0.0.2"]]);
    let policy = allowing("127.0.0.0/8");
    assert_eq!(
        outcome(policy, resolver, "receiver.example", receiver.port).await,
        DELIVERED
    );
}

#[tokio::test]
async fn a_name_without_an_address_is_down() {
    for script in [Script::new(&[]), Script::new(&[&[]])] {
        let outcome = outcome(AddressPolicy::default(), script, "receiver.example", 80).await;
        let unresolved = matches!(
            &outcome,
            Outcome::Down {
                why: DownReason::Resolve(_),
                ..
            }
        );
        assert!(unresolved, "{outcome:?}");
    }
}
