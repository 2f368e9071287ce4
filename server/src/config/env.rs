//! Settings from the environment: `WHOSTHERE_MQTT__PACKET_BYTES_MAX` sets
//! `mqtt.packet_bytes_max`.
//!
//! The known names come from the embedded default file, so a setting cannot exist without one.
//! Each variable is laid over the file by itself, so that an error names the one that is wrong.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, DEFAULT_FILE, file};

/// Variables by name. Names without the `WHOSTHERE_` prefix are not looked at.
pub type Environment = HashMap<String, String>;

/// Dotted keys that the environment has set, with the name of the variable.
pub(super) type Overridden = BTreeMap<String, String>;

const PREFIX: &str = "WHOSTHERE_";

/// The `WHOSTHERE_…` variables of this process. A value that is not UTF-8 has its wrong bytes
/// replaced, and then fails as whatever it was to be.
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into(),
                value.to_string_lossy().into(),
            )
        })
        .filter(|(name, _): &(String, String)| name.starts_with(PREFIX))
        .collect()
}

/// Lays the variables over the table of a file.
pub(super) fn overlay(
    mut table: Table,
    environment: &Environment,
) -> Result<(Config, Overridden), ConfigError> {
    let known = known_variables(&defaults());
    let mut overridden = Overridden::new();
    let mut sentences = Vec::new();
    // Sorted, so that messages come in the same order every time.
    let variables: BTreeMap<_, _> = environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    for (name, text) in variables {
        match known.get(name) {
            Some(setting) => match with_setting(&table, setting, text) {
                Ok(changed) => {
                    table = changed;
                    overridden.insert(setting.path.join("."), name.clone());
                }
                Err(why) => sentences.push(format!("{name}: {why}.")),
            },
            None => sentences.push(format!("{name}: there is no setting of this name.")),
        }
    }
    if !sentences.is_empty() {
        return Err(ConfigError::new(sentences));
    }
    let config = Config::deserialize(table)
        .map_err(|error| ConfigError::from(format!("{}.", file::without_value(error.message()))))?;
    Ok((config, overridden))
}

/// A key that a variable can set, with its default, which shows its type.
struct Setting {
    path: Vec<String>,
    default: Value,
}

/// The default file as a table.
fn defaults() -> Table {
    // A damaged default file leaves no setting known, which the tests would notice.
    DEFAULT_FILE.parse().unwrap_or_default()
}

/// Every scalar and list of the default file by the name of its variable.
fn known_variables(defaults: &Table) -> HashMap<String, Setting> {
    let mut known = HashMap::new();
    let mut open = vec![(Vec::new(), defaults)];
    while let Some((path, table)) = open.pop() {
        for (key, value) in table {
            let mut path: Vec<String> = path.clone();
            path.push(key.clone());
            match value {
                Value::Table(inner) => open.push((path, inner)),
                scalar => {
                    let name = format!("{PREFIX}{}", path.join("__").to_uppercase());
                    known.insert(
                        name,
                        Setting {
                            path,
                            default: scalar.clone(),
                        },
                    );
                }
            }
        }
    }
    known
}

/// A copy of `table` with one setting changed, if it still is a configuration.
fn with_setting(table: &Table, setting: &Setting, text: &str) -> Result<Table, String> {
    let value = value_like(&setting.default, text)?;
    let mut changed = table.clone();
    let mut place = &mut changed;
    let (key, parents) = setting
        .path
        .split_last()
        .ok_or("this setting has no name")?;
    for parent in parents {
        // A new [listen] starts from the defaults: setting one address in the environment must
        // not turn off the others.
        let inner = place.entry(parent.as_str()).or_insert_with(|| {
            defaults()
                .remove(parent)
                .unwrap_or_else(|| Table::new().into())
        });
        place = inner
            .as_table_mut()
            .ok_or_else(|| format!("`{parent}` is not a table"))?;
    }
    place.insert(key.clone(), value);
    match Config::deserialize(changed.clone()) {
        Ok(_) => Ok(changed),
        Err(error) => Err(file::without_value(error.message())),
    }
}

/// Reads `text` as the type that `default` has.
fn value_like(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => text
            .trim()
            .parse()
            .map(Value::Integer)
            .map_err(|_| "expected a whole number".into()),
        Value::Boolean(_) => text
            .trim()
            .parse()
            .map(Value::Boolean)
            .map_err(|_| "expected true or false".into()),
        Value::Array(items) => list_like(items, text),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Reads a list with commas between its items, which have the type of the default's; with none
/// there, texts. Empty text is the empty list.
fn list_like(defaults: &[Value], text: &str) -> Result<Value, String> {
    let texts = Value::String(String::new());
    let like = defaults.first().unwrap_or(&texts);
    let items = text.split(',').map(str::trim);
    let items: Result<_, _> = items
        .filter(|item| !item.is_empty())
        .map(|item| value_like(like, item))
        .collect();
    items.map(Value::Array)
}
