//! A filter that owns its text, so that what is kept need not be checked again at each use.

use super::TopicFilter;

/// A valid topic filter with its text (MQTT 5 §4.7), checked when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilterBuf {
    text: Box<str>,
    /// Where in `text` what names are compared with begins.
    matched_at: usize,
}

impl TopicFilterBuf {
    /// The filter, to be asked.
    pub fn as_filter(&self) -> TopicFilter<'_> {
        TopicFilter {
            text: &self.text,
            matched: &self.text[self.matched_at..],
        }
    }
}

impl From<TopicFilter<'_>> for TopicFilterBuf {
    fn from(filter: TopicFilter<'_>) -> Self {
        Self {
            text: filter.text.into(),
            matched_at: filter.text.len() - filter.matched.len(),
        }
    }
}
