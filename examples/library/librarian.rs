// The library's reactor: its protocol and its core. The tutorial writes this file, and includes it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use peerage::NodeId;
use peerage::channel::{Envelope, Recipients, Refusal, RequestError};
use peerage::reactor::{Outbox, Reactor, SendId};

peerage::protocol! {
    /// What libraries say to each other.
    #[derive(Debug)]
    pub enum Library: "library" / 1, max 64 * 1024 {
        /// Asks for a book.
        0 = Ask { title: String } -> Book,
        /// Brings it.
        1 = answer Book { text: String },
        /// Tells that a library has a book now.
        2 = Arrived { title: String },
    }
}

/// How long a library may take to bring a book.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait before asking for a book again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a librarian is told beside messages.
#[derive(Debug)]
pub enum Event {
    /// From the application: get this book.
    Want { title: String },
    /// What became of asking for it.
    Asked { title: String, answer: Result<(NodeId, Book), RequestError> },
}

/// Lends the books it has, and gets those that are wanted.
pub struct Librarian {
    shelf: BTreeMap<String, String>,
    /// Books to ask for again, and when.
    wanted: BTreeMap<String, Instant>,
    /// Tells the application.
    tell: Box<dyn FnMut(String) + Send>,
}

impl Librarian {
    pub fn new(tell: impl FnMut(String) + Send + 'static) -> Self {
        Self { shelf: BTreeMap::new(), wanted: BTreeMap::new(), tell: Box::new(tell) }
    }

    pub fn with(mut self, title: &str, text: &str) -> Self {
        self.shelf.insert(title.into(), text.into());
        self
    }

    /// Asks any one library that calls itself an archive.
    fn ask(&mut self, title: String, out: &mut Outbox<Self>) {
        let archives = Recipients::all().with_service("archive");
        let question = Ask { title: title.clone() };
        out.request_any(archives, question, PATIENCE, |answer| Event::Asked { title, answer });
    }
}

impl Reactor for Librarian {
    type Message = Library;
    type Event = Event;

    fn on_message(&mut self, _now: Instant, envelope: Envelope<Library>, _out: &mut Outbox<Self>) {
        match envelope.message {
            Library::Ask(request) => match self.shelf.get(&request.question.title) {
                Some(text) => {
                    let lent = request.responder.try_answer(Book { text: text.clone() });
                    (self.tell)(format!("lent {}: {lent:?}", request.question.title));
                }
                None => request.responder.refuse(),
            },
            Library::Arrived { title } => {
                (self.tell)(format!("{} has {title} now", envelope.from.short()));
            }
        }
    }

    fn on_event(&mut self, now: Instant, event: Event, out: &mut Outbox<Self>) {
        match event {
            Event::Want { title } => self.ask(title, out),
            Event::Asked { title, answer: Ok((from, book)) } => {
                (self.tell)(format!("got {title} from {}: {}", from.short(), book.text));
                self.shelf.insert(title.clone(), book.text);
                out.send(Recipients::all(), Library::Arrived { title });
            }
            Event::Asked { title, answer: Err(why) } => {
                (self.tell)(format!("no {title} yet: {why}"));
                self.wanted.insert(title, now + AGAIN);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.wanted.values().min().copied()
    }

    fn on_timeout(&mut self, now: Instant, out: &mut Outbox<Self>) {
        let due = |at: &Instant| *at <= now;
        let titles: Vec<String> =
            self.wanted.iter().filter(|(_, at)| due(at)).map(|(title, _)| title.clone()).collect();
        for title in titles {
            self.wanted.remove(&title);
            self.ask(title, out);
        }
    }

    fn on_refused(&mut self, _: Instant, _: SendId, to: NodeId, why: Refusal, _: &mut Outbox<Self>) {
        // Only news of books is sent. Whoever misses it can still ask.
        (self.tell)(format!("{} misses the news: {why}", to.short()));
    }
}
