//! Attempts against real listeners on the loopback network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod addresses;
mod answers;
mod connections;
mod receiver;
mod requests;
mod tls;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use uuid::Uuid;
use webhook::{
    address::AddressPolicy,
    deliver::{Client, ClientSettings, Endpoint, Resolve, Signing, SystemResolver},
    outcome::Outcome,
};

/// Tue, 29 Oct 2024 09:00:00 GMT
const NOW_MS: u64 = 1_730_192_400_000;
const ID: Uuid = Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0001);
const BODY: &str = r#"{"type":"user:connection_status"}"#;

fn settings() -> ClientSettings {
    ClientSettings {
        deadline: Duration::from_secs(10),
        ..ClientSettings::default()
    }
}

fn hasty() -> ClientSettings {
    ClientSettings {
        deadline: Duration::from_millis(200),
        ..ClientSettings::default()
    }
}

fn allowing(net: &str) -> AddressPolicy {
    AddressPolicy::allowing(vec![net.parse().unwrap()])
}

fn client(settings: ClientSettings) -> Client {
    client_with(
        settings,
        allowing("127.0.0.0/8"),
        b"",
        Arc::new(SystemResolver),
    )
}

fn client_with(
    settings: ClientSettings,
    policy: AddressPolicy,
    authorities_pem: &[u8],
    resolver: Arc<dyn Resolve>,
) -> Client {
    Client::with_resolver(settings, policy, authorities_pem, resolver).unwrap()
}

fn endpoint(settings: ClientSettings, port: u16) -> Endpoint {
    let url = format!("http://127.0.0.1:{port}/hook");
    client(settings).endpoint(&url, Signing::default()).unwrap()
}

async fn deliver(endpoint: &Endpoint) -> Outcome {
    endpoint
        .deliver(ID, Bytes::from_static(BODY.as_bytes()), NOW_MS)
        .await
}

const DELIVERED: Outcome = Outcome::Delivered { status: 200 };
