//! Every target for a moment, on any machine: the seeds, cut and changed by seeded noise.

use std::time::{Duration, Instant};

use fuzz::{SEEDS, TARGETS, Target};

/// For each target.
const MOMENT: Duration = Duration::from_millis(600);

/// Inputs at least, however slow the machine.
const INPUTS_MIN: u32 = 500;

/// Xorshift: the same inputs on every machine, as far as the time goes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn input(&mut self) -> Vec<u8> {
        let mut input = match self.roll(4) {
            0 => (0..self.roll(300)).map(|_| self.roll(256) as u8).collect(),
            _ => SEEDS[self.roll(SEEDS.len())].to_vec(),
        };
        if self.roll(3) == 0 {
            input.extend_from_slice(SEEDS[self.roll(SEEDS.len())]);
        }
        for _ in 0..self.roll(6) {
            if input.is_empty() {
                break;
            }
            let at = self.roll(input.len());
            match self.roll(4) {
                0 => input.truncate(at),
                1 => input.insert(at, self.roll(256) as u8),
                2 => input[at] ^= 1 << self.roll(8),
                _ => input[at] = self.roll(256) as u8,
            }
        }
        input
    }
}

fn drive(name: &str) {
    let target: Target = TARGETS
        .iter()
        .find(|(n, _)| *n == name)
        .expect("it exists")
        .1;
    SEEDS.iter().for_each(|seed| target(seed));
    let (mut dice, began) = (Dice(0x9e37_79b9_7f4a_7c15), Instant::now());
    let mut inputs = 0;
    while inputs < INPUTS_MIN || began.elapsed() < MOMENT {
        let input = dice.input();
        // The input of a finding is what one wants to see of it.
        let finding = std::panic::catch_unwind(|| target(&input));
        assert!(finding.is_ok(), "{name} does not hold for {input:?}");
        inputs += 1;
    }
}

macro_rules! briefly {
    ($($test:ident $name:literal)*) => {$(
        #[test]
        fn $test() {
            drive($name);
        }
    )*};
}

briefly! {
    packets_hold "packet"
    sessions_hold "session"
    filters_hold "filter"
    stored_messages_hold "message"
    records_hold "record"
    queries_hold "query"
    proxy_headers_hold "proxy"
    websocket_frames_hold "websocket"
}
