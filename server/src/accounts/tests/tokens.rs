//! Tokens as passwords: who signed them, what they say, and when.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD as BASE64;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

use super::*;
use crate::accounts::TokenFacts;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Made once by another implementation (`cryptography` of Python): alice's until `NOW` + 100.
const RSA_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAicnNhLTEifQ.eyJzdWIiOiAiYWxpY2UiLCAiZXhwIjogMTgwMDAwMDEwMH0.Kmyq5aP9MkEhVZHYWMa9yajVqx0aOky4RqlGjvm-kjh-wilEazURMxpYj-M9CTwdBX9XatkvQT-jNP4NK3n5tmI1J3NPU9lHN2I3WWuNHA8Nxavh86V6L0FmNhuyjHliaHKAjk56Yg7__x-kCKU44BdLQtlrxDPOiSQ55n-fsR6xVIlwQqve-mDs60zm8vux6RqD6KL65Hy9l0Hb6HdTCCoenMnMeUQA6H2KhzPIB89Tl65KSN1sCOs9_l-rZ66tkE3PU9g8NPcUojSwu7EvZaUrhjQ-LM93Z1t9y4YpIoMjnUSoSmU78QKu44FfKzO1uYCGfMXvYPCXNuFDt20AZg";
const RSA_MODULUS: &str = "0XKg4FRtjcGY96raB5qL-N-LTiwCEZZFB7YatF2yFfwEV_8feE5LhNqP5QFk8Ms2l2wFJGMhxZh4I91GVsjB2hxDloQUeHx3P4S2Ii0vnExXyvRiqa0zAcwIAj4ip_n-60OU2fADDJsGyvN-RSNNPyOfOzlsD6zTswoVO6EnL8rrT6oO56tonVcEKWJ2JjQcZrm4yT3o-KBrbSMo70m8Kq1dviNJKRERW8V0PsdLbFcXmZmKpr4CbApl5v97vNu_p-momgrMN9l76-PQcuVAjC8t0MsKsJh2DLeoVBkNUil1XubTsT3VyZchVulQ4NlYq8A2dNhMwllZMWFQHQvQSQ";
const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0XKg4FRtjcGY96raB5qL\n\
+N+LTiwCEZZFB7YatF2yFfwEV/8feE5LhNqP5QFk8Ms2l2wFJGMhxZh4I91GVsjB\n\
2hxDloQUeHx3P4S2Ii0vnExXyvRiqa0zAcwIAj4ip/n+60OU2fADDJsGyvN+RSNN\n\
PyOfOzlsD6zTswoVO6EnL8rrT6oO56tonVcEKWJ2JjQcZrm4yT3o+KBrbSMo70m8\n\
Kq1dviNJKRERW8V0PsdLbFcXmZmKpr4CbApl5v97vNu/p+momgrMN9l76+PQcuVA\n\
jC8t0MsKsJh2DLeoVBkNUil1XubTsT3VyZchVulQ4NlYq8A2dNhMwllZMWFQHQvQ\n\
SQIDAQAB\n\
-----END PUBLIC KEY-----";

/// Of 1,024 bits, made by `openssl genrsa`.
const SHORT_RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCkMzDykT1VnUaNOfYhBAdpN1Mm\n\
z9bvq2HgUCmtZK2W6bWLym1spvXK9IQUQCl1c+zXUFkZhDsmLhxIn7yW4JSlNo/B\n\
B4qL1UoaEwiSqXru+cOC15c7fyuQ54CxzwQr9kP/eKGGrHokIgpf3UKYm3wnMCUI\n\
aqyJlDhK/dDWsXbrswIDAQAB\n\
-----END PUBLIC KEY-----";

static RANDOM: LazyLock<SystemRandom> = LazyLock::new(SystemRandom::new);

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hs256_with(header: &Value, claims: &Value, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    token(header, claims, |message| {
        hmac::sign(&key, message).as_ref().to_vec()
    })
}

fn hs256(claims: &Value) -> String {
    hs256_with(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

/// An organisation whose only issuer has these lines.
fn issuer(lines: &str) -> Result<Accounts, ConfigError> {
    let text = format!(
        "default_org = \"a\"\n[[org]]\nid = \"a\"\n[[org.user]]\nusername = \"bob\"\n\
         password = \"bob-password\"\ndisplay_name = \"Bob\"\n[[org.jwt]]\n{lines}"
    );
    let config = Config::from_text(&text, "t.toml", &HashMap::new())?;
    Ok(Accounts::from_config(&config).unwrap())
}

fn with_secret(lines: &str) -> Accounts {
    issuer(&format!("secret = \"{SECRET}\"\n{lines}")).unwrap()
}

/// What a token comes to: the user and what it says, or the refusal.
fn judge(
    accounts: &Accounts,
    username: Option<&str>,
    token: &str,
) -> Result<(String, TokenFacts), LoginRefused> {
    match accounts.log_in(username, Some(token.as_bytes()), "c", NOW) {
        Decision::Admitted(admission) => {
            let facts = admission.token.map(|facts| *facts);
            Ok((admission.username.into(), facts.unwrap_or_default()))
        }
        Decision::Refused(refused) => Err(refused),
        Decision::Check(check) => panic!("{check:?}"),
    }
}

#[track_caller]
fn check_refused(accounts: &Accounts, token: &str, expected: LoginRefused) {
    let refused = judge(accounts, Some("alice@a"), token);
    assert_eq!(refused.unwrap_err(), expected);
}

#[test]
fn a_token_lets_in_the_user_that_it_names_until_it_ends() {
    let accounts = with_secret("");
    let right = hs256(&json!({"sub": "alice", "exp": NOW + 60, "name": "Alice Martin"}));
    let (user, facts) = judge(&accounts, Some("alice@a"), &right).unwrap();
    assert_eq!(user, "alice");
    assert_eq!(facts.ends_at_secs, Some(NOW + 60 + 30), "with the leeway");
    assert_eq!(facts.topics, None);
    let org = accounts.org_of_id("a").unwrap();
    let name = |user| accounts.display_name(org, user);
    assert_eq!(name("alice").as_deref(), Some("Alice Martin"));
    assert_eq!(name("carol"), None);
}

#[test]
fn a_login_without_a_name_is_whoever_the_token_names() {
    let accounts = with_secret("");
    let right = hs256(&json!({"sub": "ann@home", "exp": NOW + 60}));
    for username in [Some("@a"), Some(""), None, Some("ann@home@a")] {
        let (user, _) = judge(&accounts, username, &right).unwrap();
        assert_eq!(user, "ann@home", "{username:?}");
    }
    let numbered = hs256(&json!({"sub": 4711, "exp": NOW + 60}));
    assert_eq!(judge(&accounts, None, &numbered).unwrap().0, "4711");
    let refused = accounts.log_in(None, None, "c", NOW);
    assert!(matches!(refused, Decision::Refused(_)), "{refused:?}");
}

#[test]
fn a_token_of_another_user_secret_or_algorithm_is_wrong() {
    let accounts = with_secret("");
    let alice = json!({"sub": "alice", "exp": NOW + 60});
    let wrong = LoginRefused::WrongToken;
    check_refused(
        &accounts,
        &hs256(&json!({"sub": "bob", "exp": NOW + 60})),
        wrong,
    );
    let header = json!({"alg": "HS256"});
    let other = "f".repeat(32);
    check_refused(&accounts, &hs256_with(&header, &alice, &other), wrong);
    check_refused(
        &accounts,
        &hs256_with(&json!({"alg": "HS384"}), &alice, SECRET),
        wrong,
    );
    check_refused(&accounts, RSA_TOKEN, wrong);
    let critical = json!({"alg": "HS256", "crit": ["x"], "x": 1});
    check_refused(&accounts, &hs256_with(&critical, &alice, SECRET), wrong);
    let right = hs256(&alice);
    let (message, _) = right.rsplit_once('.').unwrap();
    check_refused(&accounts, &format!("{message}."), wrong);
    // These have not the form of a token, and are no password either.
    let none = hs256_with(&json!({"alg": "none"}), &alice, SECRET);
    let (unsigned, _) = none.rsplit_once('.').unwrap();
    for password in [
        none.as_str(),
        &format!("{unsigned}."),
        message,
        "",
        "ey.a.b",
    ] {
        check_refused(&accounts, password, LoginRefused::UnknownUserOrPassword);
    }
}

#[test]
fn a_token_is_valid_in_its_time_give_or_take_the_leeway() {
    let accounts = with_secret("leeway_secs = 10");
    let at = |claims: Value| judge(&accounts, Some("alice@a"), &hs256(&claims)).map(|_| ());
    let over = Err(LoginRefused::TokenOutOfTime);
    assert_eq!(at(json!({"sub": "alice", "exp": NOW - 9})), Ok(()));
    assert_eq!(at(json!({"sub": "alice", "exp": NOW - 10})), over);
    assert_eq!(
        at(json!({"sub": "alice", "exp": NOW + 60, "nbf": NOW + 10})),
        Ok(())
    );
    assert_eq!(
        at(json!({"sub": "alice", "exp": NOW + 60, "nbf": NOW + 11})),
        over
    );
    assert_eq!(at(json!({"sub": "alice", "exp": NOW as f64 + 0.5})), Ok(()));
    let wrong = Err(LoginRefused::TokenClaims);
    for claims in [
        json!({"sub": "alice"}),
        json!({"sub": "alice", "exp": "never"}),
        json!({"sub": "alice", "exp": null}),
        json!({"sub": "alice", "exp": -1}),
        json!({"sub": "alice", "exp": NOW + 60, "nbf": "tomorrow"}),
        json!({"exp": NOW + 60}),
        json!({"sub": "", "exp": NOW + 60}),
        json!({"sub": "a\u{0}b", "exp": NOW + 60}),
    ] {
        assert_eq!(at(claims.clone()), wrong, "{claims}");
    }
    let several = json!({"sub": ["alice"], "exp": NOW + 60});
    assert_eq!(at(several), Err(LoginRefused::WrongToken));
    let endless = with_secret("require_expiry = false");
    let (_, facts) = judge(&endless, None, &hs256(&json!({"sub": "alice"}))).unwrap();
    assert_eq!(facts.ends_at_secs, None);
}

#[test]
fn issuer_audience_and_the_names_of_claims_are_as_configured() {
    let accounts = with_secret(
        "issuer = \"login\"\naudience = \"chat\"\nuser_claim = \"uid\"\nname_claim = \"nick\"",
    );
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = json!({
            "uid": "alice", "nick": "Al", "iss": "login", "aud": ["x", "chat"], "exp": NOW + 60,
        });
        change(&mut claims);
        judge(&accounts, Some("alice@a"), &hs256(&claims)).map(|(_, facts)| facts.display_name)
    };
    assert_eq!(with(&|_| {}), Ok(Some("Al".into())));
    let wrong = Err(LoginRefused::TokenClaims);
    for (claim, value) in [
        ("iss", json!("other")),
        ("iss", json!(7)),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("uid", json!(null)),
    ] {
        let set = |claims: &mut Value| claims[claim] = value.clone();
        assert_eq!(with(&set), wrong, "{claim} = {value}");
    }
    for claim in ["iss", "aud"] {
        let remove = |claims: &mut Value| {
            claims.as_object_mut().unwrap().remove(claim);
        };
        assert_eq!(with(&remove), wrong, "without {claim}");
    }
}

#[test]
fn a_token_may_say_which_topics_are_allowed() {
    use topics::{TopicFilter, TopicName};
    let accounts = with_secret("");
    let with = |topics: Value| {
        let claims = json!({"sub": "alice", "exp": NOW + 60, "topics": topics});
        judge(&accounts, None, &hs256(&claims)).map(|(_, facts)| facts.topics.unwrap())
    };
    let topics = with(json!({"publish": ["out/+"], "subscribe": ["in/#"]})).unwrap();
    let may_publish = |name| topics.may_publish(TopicName::parse(name).unwrap());
    let may_subscribe = |filter| topics.may_subscribe(TopicFilter::parse(filter).unwrap());
    assert!(may_publish("out/a") && !may_publish("out/a/b") && !may_publish("in/a"));
    assert!(may_subscribe("in/+") && may_subscribe("$share/g/in/a"));
    assert!(!may_subscribe("#") && !may_subscribe("out/a") && !may_subscribe("+/a"));
    let nothing = with(json!({})).unwrap();
    assert!(!nothing.may_publish(TopicName::parse("a").unwrap()));
    for wrong in [
        json!([]),
        json!("#"),
        json!({"publish": "#"}),
        json!({"publish": ["a/#/b"]}),
        json!({"publish": [1]}),
        json!({"subscribe": ["$share/g/a"]}),
        json!({"write": ["#"]}),
    ] {
        assert_eq!(
            with(wrong.clone()),
            Err(LoginRefused::TokenClaims),
            "{wrong}"
        );
    }
}

#[test]
fn what_a_token_brings_has_a_bound() {
    let accounts = with_secret("");
    let with_topics = |count: usize| {
        let topics = json!({"publish": ["a"], "subscribe": vec!["b"; count - 1]});
        hs256(&json!({"sub": "alice", "exp": NOW + 60, "topics": topics}))
    };
    assert!(judge(&accounts, None, &with_topics(1000)).is_ok());
    check_refused(&accounts, &with_topics(1001), LoginRefused::TokenClaims);
    let with_name = |bytes: usize| {
        let claims = json!({"sub": "alice", "exp": NOW + 60, "name": "N".repeat(bytes)});
        judge(&accounts, None, &hs256(&claims))
            .unwrap()
            .1
            .display_name
    };
    assert!(with_name(1024).is_some());
    assert_eq!(with_name(1025), None);
}

#[test]
fn users_with_passwords_come_in_beside_tokens() {
    let accounts = with_secret("");
    let (user, facts) = judge(&accounts, Some("bob@a"), "bob-password").unwrap();
    assert_eq!((user.as_str(), facts), ("bob", TokenFacts::default()));
    let claims = json!({"sub": "bob", "name": "Bobby", "exp": NOW + 60});
    judge(&accounts, Some("bob@a"), &hs256(&claims)).unwrap();
    let org = accounts.org_of_id("a").unwrap();
    let name = accounts.display_name(org, "bob");
    assert_eq!(name.as_deref(), Some("Bob"), "the configured name counts");
}

#[test]
fn rs256_verifies_with_a_pem_or_a_jwk_set() {
    let file = Scratch::new("rsa");
    let pem = issuer(&format!("public_key = \"\"\"{RSA_PEM}\"\"\"")).unwrap();
    let key = json!({"kty": "RSA", "kid": "rsa-1", "use": "sig", "alg": "RS256", "e": "AQAB", "n": RSA_MODULUS});
    let jwks = file.issuer(&json!({"keys": [key]})).unwrap();
    for accounts in [pem, jwks] {
        assert_eq!(judge(&accounts, None, RSA_TOKEN).unwrap().0, "alice");
        let last = RSA_TOKEN.len() - 10;
        let forged = format!("{}AAAAAAAAAA", &RSA_TOKEN[..last]);
        check_refused(&accounts, &forged, LoginRefused::WrongToken);
        // The public key is no secret.
        let header = json!({"alg": "HS256", "kid": "rsa-1"});
        let claims = json!({"sub": "alice", "exp": NOW + 60});
        let confused = hs256_with(&header, &claims, RSA_PEM);
        check_refused(&accounts, &confused, LoginRefused::WrongToken);
    }
}

#[test]
fn es256_and_eddsa_verify_with_a_jwk_set() {
    let file = Scratch::new("curves");
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &*RANDOM).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &*RANDOM)
        .unwrap();
    let (x, y) = ec.public_key().as_ref()[1..].split_at(32);
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&*RANDOM).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let accounts = file
        .issuer(&json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": BASE64.encode(x), "y": BASE64.encode(y)},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": BASE64.encode(ed.public_key().as_ref())},
            {"kty": "oct", "kid": "oct", "k": BASE64.encode(SECRET.as_bytes())},
            {"kty": "XYZ", "kid": "unheard-of"},
        ]}))
        .unwrap();
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let by_ec = |message: &[u8]| ec.sign(&*RANDOM, message).unwrap().as_ref().to_vec();
    let by_ed = |message: &[u8]| ed.sign(message).as_ref().to_vec();
    let es256 = token(&json!({"alg": "ES256", "kid": "ec"}), &claims, by_ec);
    let eddsa = token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims, by_ed);
    let nameless = token(&json!({"alg": "EdDSA"}), &claims, by_ed);
    for right in [es256, eddsa, nameless] {
        assert_eq!(judge(&accounts, None, &right).unwrap().0, "alice");
    }
    let crossed = token(&json!({"alg": "ES256", "kid": "ec"}), &claims, by_ed);
    check_refused(&accounts, &crossed, LoginRefused::WrongToken);
    // A secret in a set that others can read would let them all sign.
    let symmetric = hs256_with(&json!({"alg": "HS256", "kid": "oct"}), &claims, SECRET);
    check_refused(&accounts, &symmetric, LoginRefused::WrongToken);
}

#[test]
fn keys_that_make_no_sense_do_not_spoil_their_set() {
    let right = json!({"kty": "RSA", "kid": "rsa-1", "e": "AQAB", "n": RSA_MODULUS});
    for wrong in [
        json!(5),
        json!(null),
        json!([]),
        json!({}),
        json!({"kty": "RSA"}),
        json!({"kty": "RSA", "kid": 7, "e": "AQAB", "n": RSA_MODULUS}),
        json!({"kty": "RSA", "kid": "x", "use": 1, "e": "AQAB", "n": RSA_MODULUS}),
        json!({"kty": "RSA", "kid": "x", "e": "AQAB", "n": "!!"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": 5}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"}),
    ] {
        let file = Scratch::new("senseless");
        let set = file.issuer(&json!({"keys": [wrong, right]}));
        let accounts = set.unwrap_or_else(|error| panic!("{wrong}: {error}"));
        assert_eq!(judge(&accounts, None, RSA_TOKEN).unwrap().0, "alice");
    }
}

#[test]
fn a_key_for_something_else_than_verifying_is_passed_over() {
    let file = Scratch::new("purpose");
    let key = |purpose: Value| {
        let mut key = json!({"kty": "RSA", "kid": "rsa-1", "e": "AQAB", "n": RSA_MODULUS});
        key.as_object_mut()
            .unwrap()
            .extend(purpose.as_object().unwrap().clone());
        json!({"keys": [key]})
    };
    for purpose in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt", "wrapKey"]}),
    ] {
        let Err(error) = file.issuer(&key(purpose)) else {
            panic!("a key for encryption was taken");
        };
        assert!(error.to_string().contains("no key for RS256"), "{error}");
    }
    file.issuer(&key(json!({"use": "sig", "key_ops": ["verify"]})))
        .unwrap();
}

#[test]
fn a_token_of_an_unknown_key_waits_for_the_next_fetch() {
    let file = Scratch::new("unknown");
    let key = json!({"kty": "RSA", "kid": "other", "e": "AQAB", "n": RSA_MODULUS});
    let accounts = file.issuer(&json!({"keys": [key]})).unwrap();
    let decision = accounts.log_in(Some("alice@a"), Some(RSA_TOKEN.as_bytes()), "c", NOW);
    let Decision::Check(check) = decision else {
        panic!("{decision:?}");
    };
    assert!(check.awaits().is_some());
    // The fetch brings nothing new: it is refused, and does not wait again.
    let outcome = accounts.check(check, Some(RSA_TOKEN.as_bytes()), NOW);
    let refused = outcome.unwrap_err();
    assert_eq!(refused, LoginRefused::UnknownTokenKey);
    assert!(!refused.is_guess(), "it may be a key of tomorrow");
}

#[test]
fn an_issuer_that_cannot_be_used_is_refused_with_a_reason() {
    let short = "secret = \"short\"".to_owned();
    let two = format!("secret = \"{SECRET}\"\njwks_url = \"https://x.example/\"");
    let wrong_algorithm = format!("secret = \"{SECRET}\"\nalgorithms = [\"RS256\"]");
    let weak = format!("public_key = \"\"\"{SHORT_RSA_PEM}\"\"\"");
    let none = format!("secret = \"{SECRET}\"\nalgorithms = [\"none\"]");
    for (lines, part) in [
        ("", "is missing"),
        (short.as_str(), "shorter than 32 bytes"),
        (&two, "the only one"),
        (&wrong_algorithm, "holds RS256, which the key is not for"),
        (&weak, "has 1024 bits; keys of RSA have 2048 to 8192"),
        (&none, "HS256, RS256, ES256 and EdDSA"),
        ("public_key = \"ssh-rsa AAAA\"", "PEM form"),
        (
            "jwks_file = \"/none/keys.json\"",
            "`org.jwt[0].jwks_file` of organisation \"a\" cannot be read",
        ),
        ("jwks_url = \"ftp://x.example/\"", "cannot be used"),
        (
            "jwks_url = \"https://x.example/\"\nuser_claim = \"\"",
            "is empty",
        ),
    ] {
        let Err(error) = issuer(lines) else {
            panic!("{lines} was taken");
        };
        let message = error.to_string();
        assert!(message.contains(part), "{part:?} is not in: {message}");
        assert!(!message.contains(SECRET));
    }
    let file = Scratch::new("empty");
    let Err(error) = file.issuer(&json!({"keys": []})) else {
        panic!("a set without keys was taken");
    };
    assert!(error.to_string().contains("no key for RS256"), "{error}");
}

/// A file of keys, removed when the test ends.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("whosthere-jwks-{test}-{}.json", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// An organisation whose issuer's keys are in the file.
    fn issuer(&self, set: &Value) -> Result<Accounts, ConfigError> {
        std::fs::write(&self.0, set.to_string()).unwrap();
        issuer(&format!("jwks_file = {:?}", self.0.to_str().unwrap()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
