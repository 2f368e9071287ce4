//! Settings end to end: text and variables in, `Config` or sentences out.

mod webhooks;

use super::*;

const KEY: &str = "sk_test_0123456789abcdef0123456789abcdef";

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(text, "t.toml", &Environment::new())
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_text(text, "t.toml", &environment(variables))
}

/// The message of a refused configuration contains every one of `parts`.
#[track_caller]
fn check_refused(result: Result<Config, ConfigError>, parts: &[&str]) {
    let message = result.expect_err("this configuration is wrong").to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// Dotted key, value and preceding comment of every setting in the default file.
fn default_settings() -> Vec<(String, String, bool)> {
    let (mut table, mut commented) = (String::new(), false);
    let mut settings = Vec::new();
    for line in DEFAULT_FILE.lines() {
        if line.starts_with('#') {
            commented = true;
        } else if let Some(header) = line.strip_prefix('[') {
            assert!(commented, "{line} has no comment");
            table = header.trim_end_matches(']').to_owned() + ".";
            commented = false;
        } else if let Some((key, value)) = line.split_once(" = ") {
            settings.push((
                format!("{table}{key}"),
                value.trim_matches('"').into(),
                commented,
            ));
            commented = false;
        }
    }
    settings
}

#[test]
fn the_default_file_is_exactly_the_defaults() {
    assert_eq!(load(DEFAULT_FILE).unwrap(), Config::default());
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn the_default_file_has_every_key_of_the_configuration() {
    // The debug form names all fields; serde cannot list them without a value for each.
    let shown = format!("{:#?}", Config::default());
    let fields = shown
        .lines()
        .filter(|line| line.contains(": ") || line.ends_with(": {"));
    let keys: Vec<_> = default_settings()
        .into_iter()
        .map(|(key, ..)| key)
        .collect();
    for field in fields.map(|line| line.trim().split(':').next().unwrap_or_default()) {
        let groups = [
            "listen",
            "proxy_protocol",
            "tls",
            "accounts",
            "quota",
            "mqtt",
            "http",
            "journal",
            "sessions",
            "retained",
            "webhook",
            "log",
            "orgs",
        ];
        let group = groups.contains(&field);
        let known = keys.iter().any(|key| key.rsplit('.').next() == Some(field));
        assert!(group || known, "{field} is not in whosthere.default.toml");
    }
}

#[test]
fn every_key_of_the_default_file_has_a_comment() {
    let settings = default_settings();
    assert!(settings.len() > 60, "the file was not read to its end");
    for (key, _, commented) in settings {
        assert!(commented, "{key} has no comment");
    }
}

#[test]
fn every_setting_can_be_set_in_the_environment() {
    for (key, default, _) in default_settings() {
        // It must be there, so it has a story of its own.
        if key == "webhook.authorities_file" {
            continue;
        }
        let name = format!("WHOSTHERE_{}", key.replace('.', "__").to_uppercase());
        let value = match (key.as_str(), default.parse::<u64>()) {
            ("log.format", _) => "json".to_owned(),
            ("log.filter", _) => "debug".to_owned(),
            ("default_org", _) => "b".to_owned(),
            ("proxy_protocol.doors", _) => "mqtt".to_owned(),
            (
                "webhook.allow_addresses"
                | "accounts.jwks_allow_addresses"
                | "proxy_protocol.trusted",
                _,
            ) => "127.0.0.0/8".to_owned(),
            ("webhook.refused_secs", _) => "0,7".to_owned(),
            ("webhook.pause_secs_min", _) => "2".to_owned(),
            (key, _) if key.starts_with("listen.") => "127.0.0.2:7".to_owned(),
            ("tls.version_min", _) => "1.3".to_owned(),
            ("tls.client_certificates", _) => "optional".to_owned(),
            ("tls.client_name", _) => "email".to_owned(),
            (_, Ok(0)) => "3".to_owned(),
            (_, Ok(number)) => (number - 1).to_string(),
            (_, Err(_)) if default == "false" => "true".to_owned(),
            (_, Err(_)) => "elsewhere".to_owned(),
        };
        // Doors of TLS and questions for certificates need files.
        let files = "proxy_protocol.trusted = [\"::1\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\n";
        let text = format!("{files}[[org]]\nid = \"b\"");
        let changed = load_with(&text, &[(&name, &value)]).unwrap();
        let unchanged = load(&text).unwrap();
        assert_ne!(changed, unchanged, "{name}={value} changed nothing");
    }
}

#[test]
fn the_proxy_protocol_needs_known_doors_and_trusted_balancers() {
    let refused = load("[proxy_protocol]\ndoors = [\"mqtt\", \"cellar\"]");
    check_refused(
        refused,
        &["names an unknown door", "`proxy_protocol.trusted` is empty"],
    );
    load("[proxy_protocol]\ndoors = [\"wss\"]\ntrusted = [\"10.0.0.0/8\"]").unwrap();
}

#[test]
fn doors_of_tls_need_a_certificate_and_its_key() {
    let refused = load("[listen]\nwss = \"127.0.0.1:1\"");
    check_refused(
        refused,
        &[
            "`tls.certificate` is empty",
            "`tls.key` is empty",
            "listen.wss",
        ],
    );
    let refused = load("[tls]\nclient_certificates = \"required\"");
    check_refused(refused, &["`tls.client_ca` is empty"]);
    let refused = load("[tls]\nversion_min = \"1.1\"");
    check_refused(refused, &["line 2, `tls.version_min`"]);
}

#[test]
fn the_documented_example_is_read() {
    let commented = DEFAULT_FILE.split("\n# [[org]]\n").nth(1).unwrap();
    let example: Vec<_> = commented
        .lines()
        .map(|line| line.get(2..).unwrap_or(""))
        .collect();
    let config = load(&format!("[[org]]\n{}", example.join("\n"))).unwrap();
    let org = &config.orgs[0];
    assert_eq!((org.id.as_str(), org.open_auth), ("org_abc", false));
    assert_eq!(org.secret_keys, [Secret::new(KEY)]);
    assert_eq!(org.users[0].display_name.as_deref(), Some("Alice Martin"));
    assert_eq!(org.multi_device, MultiDevice::Unlimited);
    assert_eq!(org.webhooks[0].id, "main");
}

#[test]
fn a_listen_table_opens_only_what_it_names() {
    let config = load("[listen]\nhttp = \"0.0.0.0:80\"").unwrap();
    assert_eq!((config.listen.mqtt, config.listen.ws), (None, None));
    assert_eq!(config.listen.http, Some("0.0.0.0:80".parse().unwrap()));
}

#[test]
fn one_address_from_the_environment_leaves_the_others_as_they_were() {
    let config = load_with("", &[("WHOSTHERE_LISTEN__HTTP", "127.0.0.1:0")]).unwrap();
    assert_eq!(config.listen.mqtt, Listen::default().mqtt);
    assert_eq!(config.listen.http.map(|address| address.port()), Some(0));
    let listen = "[listen]\nmqtt = \"127.0.0.1:1\"";
    let config = load_with(listen, &[("WHOSTHERE_LISTEN__HTTP", "[::1]:2")]).unwrap();
    assert_eq!(
        (config.listen.ws, config.listen.http),
        (None, Some("[::1]:2".parse().unwrap()))
    );
}

#[test]
fn an_empty_address_is_a_closed_door() {
    let config = load_with("", &[("WHOSTHERE_LISTEN__WS", "")]).unwrap();
    assert_eq!(config.listen.ws, None);
    assert_eq!(config.listen.mqtt, Listen::default().mqtt);
}

#[test]
fn a_server_without_any_door_is_refused() {
    check_refused(load("[listen]"), &["t.toml", "`listen`"]);
}

#[test]
fn two_doors_cannot_share_an_address_unless_the_system_picks_the_port() {
    let listen = |port| format!("[listen]\nmqtt = \"127.0.0.1:{port}\"\nws = \"127.0.0.1:{port}\"");
    check_refused(load(&listen(7)), &["`listen.ws`", "`listen.mqtt`"]);
    load(&listen(0)).unwrap();
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    check_refused(
        load("\nspeed = 1"),
        &["t.toml, line 2", "`speed`", "unknown field"],
    );
    check_refused(load("[mqtt]\nspeed = 1"), &["line 2", "`mqtt.speed`"]);
    check_refused(
        load("[listen]\nmqttx = \"127.0.0.1:1\""),
        &["`listen.mqttx`"],
    );
    check_refused(
        load("[[org]]\nid = \"a\"\nspeed = 1"),
        &["line 3", "`org.speed`"],
    );
    check_refused(load("[haste]\nspeed = 1"), &["line 1", "`haste`"]);
}

#[test]
fn what_stands_where_a_key_should_is_not_repeated() {
    let texts = [
        "[[org]]\nsecret_keys = [\n\"hunter2=b,\n]",
        "[[org]]\n[[org.user]]\npassword \"hunter2=secret\"",
        "[[org]]\n[[org.webhook]]\nsecret = [\n\"a\",\n\"hunter2==\" 5 ]",
        "[[org]]\n[[org.jwt]]\nsecret = \"\"\"\nhunter2=\\q\"\"\"",
        "[[org]]\nsecret_keys = [\n[\"hunter2\"],\nid = 5\n]",
    ];
    for text in texts {
        let refused = load(text).unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!(refused.contains("t.toml, line "), "{refused}");
    }
    check_refused(
        load("[[org]]\n[[org.jwt]]\njwks_file = 5"),
        &["line 3, `org.jwt.jwks_file`"],
    );
}

#[test]
fn an_unknown_variable_is_named() {
    for name in [
        "WHOSTHERE_SPEED",
        "WHOSTHERE_MQTT__SPEED",
        "WHOSTHERE_MQTT",
        "WHOSTHERE_",
    ] {
        check_refused(load_with("", &[(name, "1")]), &[name]);
    }
    check_refused(load_with("", &[("WHOSTHERE_ORG", "x")]), &["WHOSTHERE_ORG"]);
    load_with("", &[("PATH", "/bin")]).unwrap();
}

#[test]
fn a_wrong_variable_is_named() {
    let with = |name, value| load_with("", &[(name, value)]);
    check_refused(
        with("WHOSTHERE_WORKERS", "many"),
        &["WHOSTHERE_WORKERS", "whole number"],
    );
    check_refused(with("WHOSTHERE_WORKERS", "-1"), &["WHOSTHERE_WORKERS"]);
    check_refused(
        with("WHOSTHERE_LISTEN__HTTP", "80"),
        &["WHOSTHERE_LISTEN__HTTP", "ip:port"],
    );
    check_refused(
        with("WHOSTHERE_LOG__FORMAT", "xml"),
        &["WHOSTHERE_LOG__FORMAT", "text"],
    );
    let name = "WHOSTHERE_MQTT__KEEP_ALIVE_SECS_MAX";
    check_refused(
        with(name, "201"),
        &[name, "`mqtt.keep_alive_secs_max`", "1 to 200"],
    );
}

#[test]
fn several_problems_are_reported_together() {
    let text = "workers = 5000\ndefault_org = \"x\"\n[http]\nlistings_max = 0\n[[org]]\nid = \"a\"";
    let error = load(text).unwrap_err();
    assert_eq!(error.sentences().len(), 3, "{error}");
    check_refused(
        Err(error),
        &["`workers`", "`http.listings_max`", "`default_org`"],
    );
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let table = [
        ("mqtt", "packet_bytes_max", 268_435_456_u64),
        ("mqtt", "packet_bytes_max", 1023),
        ("mqtt", "keep_alive_secs_max", 201),
        ("mqtt", "keep_alive_secs_max", 0),
        ("mqtt", "receive_max", 0),
        ("mqtt", "connect_timeout_secs", 301),
        ("mqtt", "tcp_keep_alive_idle_secs", 200),
        ("mqtt", "tcp_keep_alive_probes", 7),
        ("http", "header_bytes_max", 8191),
        ("http", "page_rows_max", 0),
    ];
    for (group, key, value) in table {
        check_refused(
            load(&format!("[{group}]\n{key} = {value}")),
            &["t.toml", key],
        );
    }
    load("[mqtt]\npacket_bytes_max = 268435455").unwrap();
}

#[test]
fn organisations_with_wrong_ids_are_refused() {
    let long = "x".repeat(65);
    for id in ["", "a@b", "a b", "é", "a.b", "a/b", &long] {
        check_refused(load(&format!("[[org]]\nid = \"{id}\"")), &["`org.id`"]);
    }
    load(&format!("[[org]]\nid = \"{}\"", &long[1..])).unwrap();
    check_refused(
        load("[[org]]\nid = \"a\"\n[[org]]\nid = \"a\""),
        &["`org.id`", "twice"],
    );
    check_refused(load("[[org]]\nsecret_keys = []"), &["`id`"]);
}

#[test]
fn weak_or_shared_keys_are_refused_without_showing_them() {
    let with = |keys: &str| load(&format!("[[org]]\nid = \"a\"\nsecret_keys = [{keys}]"));
    with(&format!("\"{KEY}\"")).unwrap();
    let short = &KEY[..KEY.len() - 1];
    for key in [
        short,
        "pk_test_0123456789abcdef0123456789abcdef",
        "sk_",
        "",
        "sk_0 1",
    ] {
        let refused = with(&format!("\"{key}\""));
        check_refused(refused.clone(), &["`org.secret_keys[0]`"]);
        assert!(key.len() < 4 || !refused.unwrap_err().to_string().contains(key));
    }
    check_refused(
        with(&format!("\"{KEY}\", \"{KEY}\"")),
        &["`org.secret_keys[1]`", "\"a\""],
    );
    let two = format!(
        "[[org]]\nid = \"a\"\nsecret_keys = [\"{KEY}\"]\n[[org]]\nid = \"b\"\nsecret_keys = [\"{KEY}\"]"
    );
    check_refused(load(&two), &["organisation \"a\"", "organisation \"b\""]);
}

#[test]
fn wrong_users_are_refused() {
    let user = |name: &str, password: &str| {
        format!("[[org.user]]\nusername = \"{name}\"\npassword = \"{password}\"\n")
    };
    let with = |users: &str| load(&format!("[[org]]\nid = \"a\"\n{users}"));
    check_refused(with(&user("", "p")), &["`org.user.username`", "empty"]);
    check_refused(with(&user("u", "")), &["`org.user.password`", "\"u\""]);
    check_refused(
        with(&user("a\\u0000", "p")),
        &["`org.user.username`", "NUL"],
    );
    check_refused(
        with(&user(&"x".repeat(65_536), "p")),
        &["`org.user.username`", "65535"],
    );
    check_refused(
        with(&(user("u", "p") + &user("u", "q"))),
        &["`org.user.username`", "twice"],
    );
    with(&(user("u@example.com", "p") + &user("ü/%", "q"))).unwrap();
}

#[test]
fn default_org_must_be_configured() {
    check_refused(
        load("default_org = \"b\"\n[[org]]\nid = \"a\""),
        &["`default_org`", "\"b\""],
    );
    check_refused(load("default_org = \"b\""), &["`default_org`", "generated"]);
    let config = load("default_org = \"a\"\n[[org]]\nid = \"a\"").unwrap();
    assert_eq!(config.default_org.as_deref(), Some("a"));
}

#[test]
fn messages_and_debug_output_do_not_show_secrets() {
    let texts = [
        "secret_keys = \"hush-hush\"",
        "secret_keys = [\"hush-hush\"]",
        "secret_keys = [\"sk_x\", { hush-hush = 1 }]",
        "open_auth = \"hush-hush\"",
        "[[org.user]]\nusername = \"u\"\npassword = [\"hush-hush\"]",
        "[[org.user]]\nusername = \"u\"\npassword = \"hush-hush",
    ];
    for text in texts {
        let message = load(&format!("[[org]]\nid = \"a\"\n{text}"))
            .unwrap_err()
            .to_string();
        assert!(!message.contains("hush-hush"), "{message}");
    }
    let user = "[[org]]\nid = \"a\"\n[[org.user]]\nusername = \"u\"\npassword = \"hush-hush\"";
    assert!(!format!("{:?}", load(user).unwrap()).contains("hush-hush"));
}

#[test]
fn a_missing_file_is_named() {
    let refused = Config::load(Some(Path::new("/no/such.toml")), &Environment::new());
    check_refused(refused, &["/no/such.toml", "cannot read"]);
}

#[test]
fn a_user_has_one_password_in_one_form() {
    let user = |lines: &str| {
        load(&format!(
            "[[org]]\nid = \"b\"\n[[org.user]]\nusername = \"alice\"\n{lines}"
        ))
    };
    let hash = crate::accounts::hash(b"p").unwrap();
    assert!(user(&format!("password_hash = \"{hash}\"")).is_ok());
    check_refused(
        user(""),
        &["`org.user.password` of user \"alice\" is missing"],
    );
    let both = format!("password = \"p\"\npassword_hash = \"{hash}\"");
    check_refused(user(&both), &["password_hash", "beside `password`"]);
    let refused = user("password_hash = \"hunter2\"");
    assert!(!format!("{refused:?}").contains("hunter2"));
    check_refused(refused, &["password_hash", "alice", "PHC"]);
    let weak = hash.replace("m=19456", "m=1024");
    check_refused(
        user(&format!("password_hash = \"{weak}\"")),
        &["too weak", "hash-password"],
    );
    let costly = hash.replace("m=19456", "m=4000000");
    check_refused(
        user(&format!("password_hash = \"{costly}\"")),
        &["4000000 KiB", "accounts.hash_memory_kib_max"],
    );
}

#[test]
fn rules_and_quotas_are_judged_before_the_start() {
    let org = |lines: &str| load(&format!("[[org]]\nid = \"b\"\n{lines}"));
    let rule = |topics: &str| {
        org(&format!(
            "[[org.rule]]\neffect = \"deny\"\ntopics = {topics}"
        ))
    };
    assert!(rule("[\"a/{username}/#\"]").is_ok());
    check_refused(
        rule("[\"a/#/b\"]"),
        &[
            "org.rule[0].topics",
            "\"a/#/b\", which is not a topic filter",
        ],
    );
    check_refused(
        rule("[\"{name}\"]"),
        &["braces other than {username} and {client_id}"],
    );
    check_refused(rule("[]"), &["decides nothing"]);
    check_refused(
        org("[[org.rule]]\neffect = \"maybe\"\ntopics = [\"a\"]"),
        &["`org.rule.effect`", "allow"],
    );
    assert!(org("[org.quota]\nconnections_max = 7").is_ok());
    check_refused(
        org("[org.quota]\npacket_bytes_max = 1048577"),
        &["`org.quota.packet_bytes_max` is 1048577; expected 1024 to 1048576"],
    );
    check_refused(
        org("[org.quota]\nqueue_messages_max = 1001"),
        &["`org.quota.queue_messages_max` is 1001; expected 1 to 1000"],
    );
}

#[test]
fn a_rule_about_nobody_is_refused() {
    let rule = |users: &str| {
        let rule = format!("effect = \"deny\"\ntopics = [\"a\"]\nusers = [{users}]");
        load(&format!("[[org]]\nid = \"a\"\n[[org.rule]]\n{rule}"))
    };
    rule("\"alice\", \"ann@home\"").unwrap();
    let parts = ["`org.rule[0].users`", "\"alice@a\"", "without @"];
    check_refused(rule("\"alice\", \"alice@a\""), &parts);
    check_refused(rule("\"\""), &["`org.rule[0].users`", "is empty"]);
}

#[test]
fn numbers_of_a_wrong_kind_are_explained_in_plain_words() {
    for value in ["-1", "0.5", "\"1\"", "9999999999"] {
        let text = format!("[[org]]\nid = \"a\"\n[org.quota]\nconnections_max = {value}");
        let parts = ["line 4, `org.quota.connections_max`", "a whole number"];
        check_refused(load(&text), &parts);
    }
}

#[test]
fn keys_over_a_plain_network_are_noticed() {
    let is_exposed = |url: &str| {
        let text = format!("[[org]]\nid = \"a\"\n[[org.jwt]]\njwks_url = \"{url}\"");
        load(&text).unwrap().orgs[0].jwts[0].is_exposed()
    };
    assert!(is_exposed("http://login.example.com/keys"));
    assert!(!is_exposed("https://login.example.com/keys"));
    assert!(is_exposed("http://127.example.com/") && is_exposed("http://localhost.example.com"));
    assert!(!is_exposed("http://127.0.0.1:8080/keys") && !is_exposed("http://localhost/keys"));
}
