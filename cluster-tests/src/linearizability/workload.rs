//! Clients that run random commands from a seed and record what happens.

use super::history::{CallId, History, Recorder};
use crate::RackError;
use crate::memcached::{Command, Encoding, Item, Outcome, RequestId, TcpClient, UdpClient, decode, encode};
use crate::rack::Host;
use crate::random::Random;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

/// What the clients do. Commands follow from the seed; how they interleave is up to the machine.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The seed.
    pub seed: u64,
    /// How many clients, spread over the hosts.
    pub clients: usize,
    /// How many commands each client runs.
    pub commands: usize,
    /// How many keys; the even ones hold numbers, the odd ones text.
    pub keys: usize,
    /// Every how many-th command is a write.
    pub write_one_in: usize,
    /// How long a client waits for a reply until it goes on without.
    pub patience: Duration,
    /// Encodings to draw from.
    pub encodings: Vec<Encoding>,
    /// Where UDP requests go.
    pub to: SocketAddrV4,
    /// Where one client in four sends its requests over TCP instead, if anywhere.
    pub tcp: Option<SocketAddrV4>,
}

/// A history and what is needed to judge whether it was worth checking.
#[derive(Debug)]
pub struct WorkloadReport {
    /// What happened.
    pub history: History,
    /// Replies that came after their client had gone on.
    pub late: usize,
    /// Errors that servers or the switch answered, such as `SERVER_ERROR`.
    pub errors: Vec<String>,
}

impl Workload {
    /// Runs the clients on `hosts` to their end, with `meanwhile` beside them.
    ///
    /// # Errors
    /// [`RackError::Io`] if a client's socket fails.
    pub fn run(&self, hosts: &[Host], meanwhile: impl FnOnce() + Send) -> Result<WorkloadReport, RackError> {
        let recorder = Recorder::default();
        let outcomes: Vec<io::Result<Tally>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let (recorder, host) = (&recorder, &hosts[number % hosts.len()]);
                    scope.spawn(move || {
                        host.enter().map_err(io::Error::other)?;
                        Client::new(self, recorder, number).run()
                    })
                })
                .collect();
            scope.spawn(meanwhile);
            let joined = clients.into_iter().map(|client| client.join());
            joined.map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut report = WorkloadReport { history: recorder.finish(), late: 0, errors: Vec::new() };
        for outcome in outcomes {
            let tally = outcome.map_err(RackError::io("a client's socket"))?;
            report.late += tally.late;
            report.errors.extend(tally.errors);
        }
        Ok(report)
    }
}

#[derive(Debug, Default)]
struct Tally {
    late: usize,
    errors: Vec<String>,
}

struct Client<'a> {
    workload: &'a Workload,
    recorder: &'a Recorder,
    number: usize,
    random: Random,
    /// The last CAS unique seen, by key.
    uniques: HashMap<usize, u64>,
    /// Requests whose replies have not come: also those that were given up.
    open: HashMap<RequestId, Open>,
    tally: Tally,
}

struct Open {
    call: CallId,
    key: usize,
    encoding: Encoding,
    command: Command,
}

impl<'a> Client<'a> {
    fn new(workload: &'a Workload, recorder: &'a Recorder, number: usize) -> Self {
        let random = Random::new(workload.seed.wrapping_mul(1000) + number as u64);
        Self {
            workload,
            recorder,
            number,
            random,
            uniques: HashMap::new(),
            open: HashMap::new(),
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> io::Result<Tally> {
        match self.workload.tcp {
            Some(to) if self.number % 4 == 3 => self.run_tcp(to)?,
            _ => self.run_udp()?,
        }
        Ok(self.tally)
    }

    fn run_udp(&mut self) -> io::Result<()> {
        let mut socket = UdpClient::connect(self.workload.to)?;
        for sequence in 0..self.workload.commands {
            let (key, command) = self.draw(sequence);
            let encoding = *self.random.pick(&self.workload.encodings);
            let name = key_name(self.workload.seed, key);
            let request = encode(encoding, name.as_bytes(), &command);
            let call = self.recorder.call(self.number, &name, command.clone());
            let until = Instant::now() + self.workload.patience;
            let id = socket.send(&request)?;
            self.open.insert(id, Open { call, key, encoding, command });
            while self.open.contains_key(&id) {
                let Some((replied, reply)) = socket.receive(until)? else { break };
                self.complete(replied, reply, replied != id);
            }
        }
        // Replies that are still under way make the check sharper.
        let until = Instant::now() + self.workload.patience;
        while !self.open.is_empty() {
            let Some((replied, reply)) = socket.receive(until)? else { break };
            self.complete(replied, reply, true);
        }
        Ok(())
    }

    fn run_tcp(&mut self, to: SocketAddrV4) -> io::Result<()> {
        let mut stream = TcpClient::connect(to)?;
        for sequence in 0..self.workload.commands {
            let (key, command) = self.draw(sequence);
            let name = key_name(self.workload.seed, key);
            let call = self.recorder.call(self.number, &name, command.clone());
            let outcome = stream.execute(Encoding::Text, name.as_bytes(), &command)?;
            self.learn(call, key, outcome);
        }
        Ok(())
    }

    fn complete(&mut self, id: RequestId, reply: &[u8], late: bool) {
        let Some(open) = self.open.get(&id) else { return };
        let Some(outcome) = decode(open.encoding, &open.command, reply) else { return };
        let (call, key) = (open.call, open.key);
        self.open.remove(&id);
        self.tally.late += usize::from(late);
        self.learn(call, key, outcome);
    }

    /// An error answer says nothing about whether the command took effect.
    fn learn(&mut self, call: CallId, key: usize, outcome: Outcome) {
        if let Outcome::Error(error) = outcome {
            self.tally.errors.push(error);
            return;
        }
        if let Outcome::Value { cas: Some(unique), .. } = outcome {
            self.uniques.insert(key, unique);
        }
        self.recorder.returned(call, outcome);
    }

    fn draw(&mut self, sequence: usize) -> (usize, Command) {
        let key = self.random.below(self.workload.keys);
        if !self.random.one_in(self.workload.write_one_in) {
            let reads =
                [Command::Get, Command::Get, Command::Get, Command::Gets, Command::Gets, Command::Gat];
            return (key, self.random.pick(&reads).clone());
        }
        let numeric = key.is_multiple_of(2);
        let mark = (self.number * self.workload.commands + sequence) as u32;
        let value = if numeric { (u64::from(mark) * 100).to_string() } else { format!("<{mark}>") };
        let item = Item::new(mark, value.clone());
        let command = match (self.random.below(10), numeric) {
            (0 | 1, _) => Command::Set(item),
            (2, _) => Command::Add(item),
            (3, _) => Command::Replace(item),
            (4 | 5, _) => match self.uniques.get(&key) {
                Some(unique) => Command::Cas(item, *unique),
                None => Command::Set(item),
            },
            (6, _) => Command::Delete,
            (7, true) => Command::Increment(1 + u64::from(mark % 7)),
            (8, true) => Command::Decrement(1 + u64::from(mark % 7)),
            (7, false) => Command::Append(value.into_bytes()),
            (8, false) => Command::Prepend(value.into_bytes()),
            _ => Command::Touch,
        };
        (key, command)
    }
}

fn key_name(seed: u64, key: usize) -> String {
    format!("register-{seed}-{key}")
}
