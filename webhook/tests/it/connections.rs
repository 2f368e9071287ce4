//! Connections are used again, and not when they must not be.

use std::{io::ErrorKind, time::Duration};

use tokio::net::TcpListener;
use webhook::{
    deliver::ClientSettings,
    outcome::{DownReason, Outcome},
};

use crate::{
    DELIVERED, deliver, endpoint,
    receiver::{Act, OK, Receiver, ok, status},
    settings,
};

#[tokio::test]
async fn a_connection_is_used_again() {
    let receiver = Receiver::start(vec![ok(), status(500, ""), ok()]).await;
    let endpoint = endpoint(settings(), receiver.port);
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    let down = DownReason::Status(500).into();
    assert_eq!(deliver(&endpoint).await, down);
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn attempts_at_the_same_time_have_a_connection_each() {
    let receiver = Receiver::start(vec![ok(), ok()]).await;
    let endpoint = endpoint(settings(), receiver.port);
    let both = tokio::join!(deliver(&endpoint), deliver(&endpoint));
    assert_eq!(both, (DELIVERED, DELIVERED));
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_delivery() {
    let close = Act::AnswerAndClose(OK.to_owned());
    let receiver = Receiver::start(vec![close.clone(), close.clone(), close]).await;
    let endpoint = endpoint(settings(), receiver.port);
    for _ in 0..3 {
        assert_eq!(deliver(&endpoint).await, DELIVERED);
    }
    assert_eq!(receiver.connections(), 3);
}

#[tokio::test]
async fn a_connection_that_closes_under_the_second_request_is_replaced_once() {
    let close = Act::AnswerAndClose(String::new());
    let receiver = Receiver::start(vec![ok(), close.clone(), ok(), close.clone(), close]).await;
    let endpoint = endpoint(settings(), receiver.port);
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    assert_eq!(
        deliver(&endpoint).await,
        DELIVERED,
        "again on a new connection"
    );
    assert_eq!(receiver.connections(), 2);
    let outcome = deliver(&endpoint).await;
    assert!(
        matches!(outcome, Outcome::Down { .. }),
        "but only once: {outcome:?}"
    );
    assert_eq!(receiver.requests().len(), 5);
}

#[tokio::test]
async fn a_connection_with_an_unread_answer_is_not_used_again() {
    let long = "x".repeat(5_000);
    let act = Act::Answer(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{long}"
    ));
    let receiver = Receiver::start(vec![act, ok()]).await;
    let endpoint = endpoint(settings(), receiver.port);
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_connection_too_idle_or_too_old_is_not_used_again() {
    let no_rest = ClientSettings {
        idle_timeout: Duration::ZERO,
        ..settings()
    };
    let no_age = ClientSettings {
        connection_age_max: Duration::ZERO,
        ..settings()
    };
    let no_room = ClientSettings {
        idle_max: 0,
        ..settings()
    };
    for settings in [no_rest, no_age, no_room] {
        let receiver = Receiver::start(vec![ok(), ok()]).await;
        let endpoint = endpoint(settings, receiver.port);
        assert_eq!(deliver(&endpoint).await, DELIVERED);
        assert_eq!(deliver(&endpoint).await, DELIVERED);
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let outcome = deliver(&endpoint(settings(), port)).await;
    assert_eq!(
        outcome,
        DownReason::Connect(ErrorKind::ConnectionRefused).into()
    );
}

#[tokio::test]
async fn a_quiet_endpoint_can_let_its_connections_go() {
    let receiver = Receiver::start(vec![ok(), ok()]).await;
    let kept = endpoint(settings(), receiver.port);
    assert_eq!(deliver(&kept).await, DELIVERED);
    kept.close_idle();
    assert_eq!(deliver(&kept).await, DELIVERED);
    assert_eq!(
        receiver.connections(),
        1,
        "one that is not idle for long stays"
    );

    let no_rest = ClientSettings {
        idle_timeout: Duration::ZERO,
        ..settings()
    };
    let receiver = Receiver::start(vec![ok()]).await;
    let quiet = endpoint(no_rest, receiver.port);
    assert_eq!(deliver(&quiet).await, DELIVERED);
    quiet.close_idle();
    receiver.until_all_closed().await;
}
