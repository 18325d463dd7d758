//! Mistakes that do not compile, each after a twin that does: the twin shows that it is the mistake that is refused.

/// A channel has a name of 1 to 8 printable characters.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Closed { until_day: u64 },
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail,E0080
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "librarian" / 1, max 64 {
///         0 = Closed { until_day: u64 },
///     }
/// }
/// fn main() {}
/// ```
struct Name;

/// Versions count from 1.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Closed { until_day: u64 },
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail,E0080
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 0, max 64 {
///         0 = Closed { until_day: u64 },
///     }
/// }
/// fn main() {}
/// ```
struct Zero;

/// Payloads have room for something.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 * 1 {
///         0 = Closed { until_day: u64 },
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail,E0080
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 * 0 {
///         0 = Closed { until_day: u64 },
///     }
/// }
/// fn main() {}
/// ```
struct Nothing;

/// Each variant has a code.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Closed { until_day: u64 },
///         1 = Open
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Closed { until_day: u64 },
///         Open
///     }
/// }
/// fn main() {}
/// ```
struct Codeless;

/// An answer answers a question.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Book,
///         1 = answer Book
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Closed { until_day: u64 },
///         1 = answer Book
///     }
/// }
/// fn main() {}
/// ```
struct Unasked;

/// What answers a question is declared as an answer.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Book,
///         1 = answer Book,
///         2 = answer Shelf
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Book,
///         1 = Book,
///         2 = answer Shelf
///     }
/// }
/// fn main() {}
/// ```
struct Undeclared;

/// Also if no other is.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Book,
///         1 = answer Book
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Book,
///         1 = Book
///     }
/// }
/// fn main() {}
/// ```
struct Alone;

/// An answer is named and not written out.
///
/// ```
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Book,
///         1 = answer Book(Vec<u8>)
///     }
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail
/// peerage::protocol! {
///     #[derive(Debug)]
///     pub enum Library: "library" / 1, max 64 {
///         0 = Ask -> Vec<u8>,
///         1 = answer Book(Vec<u8>)
///     }
/// }
/// fn main() {}
/// ```
struct Typed;

/// `request` asks one, and a group is for `request_any`.
///
/// ```
/// use std::time::Duration;
/// use peerage::NodeId;
/// use peerage::channel::{Recipients, Sender};
/// use peerage::reactor::ping::{Ping, Question};
///
/// async fn ask(sender: &Sender<Ping>, peer: NodeId) {
///     let _ = sender.request_any(Recipients::all(), Question, Duration::ZERO).await;
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail,E0277
/// use std::time::Duration;
/// use peerage::NodeId;
/// use peerage::channel::{Recipients, Sender};
/// use peerage::reactor::ping::{Ping, Question};
///
/// async fn ask(sender: &Sender<Ping>, peer: NodeId) {
///     let _ = sender.request(Recipients::all(), Question, Duration::ZERO).await;
/// }
/// fn main() {}
/// ```
struct OfOne;

/// A question is asked and not sent.
///
/// ```
/// use std::time::Duration;
/// use peerage::NodeId;
/// use peerage::channel::{Recipients, Sender};
/// use peerage::reactor::ping::{Ping, Question};
///
/// async fn ask(sender: &Sender<Ping>, peer: NodeId) {
///     let _ = sender.request(peer, Question, Duration::ZERO).await;
/// }
/// fn main() {}
/// ```
///
/// ```compile_fail,E0271
/// use std::time::Duration;
/// use peerage::NodeId;
/// use peerage::channel::{Recipients, Sender};
/// use peerage::reactor::ping::{Ping, Question};
///
/// async fn ask(sender: &Sender<Ping>, peer: NodeId) {
///     sender.try_send(peer, Ping::Question(Question)).ignore();
/// }
/// fn main() {}
/// ```
struct Sent;
