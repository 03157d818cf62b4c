//! Commands of the system from within, which no client sends.

use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::request::Class;
use kahuna_protocol::{GroupId, Request, RequestPrelude};

use super::call::Call;
use super::reply::Reply;
use super::task::TaskAnswer;
use super::work::Work;

impl Work {
    /// A command of the system for `group`, and its answer, which a task of this shard waits for until `deadline`, as time
    /// since boot.
    pub fn of_system(group: GroupId, request: &Request, deadline: Duration) -> (Self, TaskAnswer) {
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let call = Call {
            group,
            kind: request.kind(),
            class: Class::System,
            grows: false,
            // In no session: no clock judges whether it comes too late.
            prelude: RequestPrelude::default(),
            body: Bytes::from(body),
            deadline,
            forwarded: false,
            repeated: false,
            attempts: 0,
        };
        let (reply, answer) = Reply::to_task();
        (Self { call, reply }, answer)
    }
}
