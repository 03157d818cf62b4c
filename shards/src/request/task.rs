//! A task of this shard that waits for one answer.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use kahuna_protocol::Hlc;

use super::answer::Answer;
use super::reply::{AnswerTo, Reply, Token};

/// What the task and the [`Reply`] share.
#[derive(Default)]
struct Waiting {
    answer: Cell<Option<Answer>>,
    task: Cell<Option<Waker>>,
}

impl AnswerTo for Waiting {
    fn would_hold(&self, _: usize) -> bool {
        true
    }

    fn answer(self: Rc<Self>, _: Token, _: Hlc, answer: Answer) {
        self.answer.set(Some(answer));
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// The answer to one request, for the task that waits for it. There always is one, see [`Reply`].
pub struct TaskAnswer(Rc<Waiting>);

impl Reply {
    /// A request whose answer goes to the task that holds the other half.
    pub fn to_task() -> (Self, TaskAnswer) {
        let waiting = Rc::<Waiting>::default();
        (Self::new(waiting.clone(), Token::default(), [None, None]), TaskAnswer(waiting))
    }
}

impl Future for TaskAnswer {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.0.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                self.0.task.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for TaskAnswer {
    fn drop(&mut self) {
        self.0.task.take();
    }
}
