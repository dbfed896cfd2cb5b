//! The store as a pure model: what each script does, with time made of explicit expiries.
//!
//! `conformance` holds it against the scripts on a real server; `model` and `memory` build on it.

/// One credential's things in the store. `B` is what a token carries, `F` a fault.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::token) struct Board<B, F> {
    /// The counter; 0 where there is none.
    pub(in crate::token) counter: u64,
    /// The stored token.
    pub(in crate::token) token: Option<Stored<B>>,
    /// The lease's number and its holder.
    pub(in crate::token) lease: Option<(u64, usize)>,
    /// The lease's login may have come before that of one who had lost it: `?` behind the lease.
    pub(in crate::token) doubted: bool,
    /// The fault that is told instead of giving a lease.
    pub(in crate::token) fault: Option<F>,
}

/// A token as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::token) struct Stored<B> {
    pub(in crate::token) fence: u64,
    pub(in crate::token) suspect: bool,
    pub(in crate::token) body: B,
}

/// Whose turn it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::token) enum Asked<B, F> {
    Stored(Stored<B>),
    Fault(F),
    Busy,
    Lease(u64),
}

/// A number of one's own, or the token that is better.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::token) enum Numbered<B> {
    Fence(u64),
    Stored(Stored<B>),
}

/// What the others are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::token) enum Tell {
    Token(u64),
    Release(u64),
}

impl<B, F> Default for Board<B, F> {
    fn default() -> Self {
        Self { counter: 0, token: None, lease: None, doubted: false, fault: None }
    }
}

impl<B: Clone + PartialEq, F: Clone> Board<B, F> {
    /// `turn.lua`.
    pub(in crate::token) fn turn(&mut self, beyond: u64, holder: usize, over_fault: bool, again: bool) -> Asked<B, F> {
        if let Some(token) = self.token.as_ref().filter(|token| token.fence > beyond) {
            return Asked::Stored(token.clone());
        }
        if let Some(fault) = self.fault.as_ref().filter(|_| !over_fault) {
            return Asked::Fault(fault.clone());
        }
        let held = match self.lease {
            Some((_, other)) if !(again && other == holder) => return Asked::Busy,
            Some((fence, _)) => fence,
            None => 0,
        };
        self.counter = (self.counter + 1).max(self.last() + 1).max(beyond + 1).max(held + 1);
        (self.lease, self.doubted) = (Some((self.counter, holder)), false);
        Asked::Lease(self.counter)
    }

    /// `lay.lua`: whether the token was kept.
    pub(in crate::token) fn lay(&mut self, fence: u64, holder: usize, suspect: bool, body: B) -> (bool, Vec<Tell>) {
        if let Some(token) = self.token.as_ref().filter(|token| token.fence == fence && token.body == body) {
            return (token.suspect == suspect, Vec::new());
        }
        let (mine, doubted) = self.end_lease(fence, holder);
        if mine && self.last() < fence {
            self.token = Some(Stored { fence, suspect: suspect || doubted, body });
            self.fault = None;
            return (!doubted, vec![Tell::Token(fence)]);
        }
        let mut told = self.doubt();
        told.push(Tell::Release(fence));
        (false, told)
    }

    /// `give_back.lua`: whether the lease was held still.
    pub(in crate::token) fn give_back(
        &mut self,
        fence: u64,
        holder: usize,
        fault: Option<F>,
        heard: bool,
    ) -> (bool, Vec<Tell>) {
        let (mine, _) = self.end_lease(fence, holder);
        if mine {
            self.fault = fault.or(self.fault.take());
        }
        let mut told = if heard { self.doubt() } else { Vec::new() };
        told.push(Tell::Release(fence));
        (mine, told)
    }

    /// `reserve.lua`.
    pub(in crate::token) fn reserve(&mut self, own: u64) -> Numbered<B> {
        if let Some(token) = self.token.as_ref().filter(|token| !token.suspect && token.fence >= own) {
            return Numbered::Stored(token.clone());
        }
        self.counter = (self.counter + 1).max(self.last() + 1).max(own + 1);
        Numbered::Fence(self.counter)
    }

    /// `place.lua`.
    pub(in crate::token) fn place(&mut self, fence: u64, own: u64, suspect: bool, body: B) -> (Numbered<B>, Vec<Tell>) {
        if self.token.as_ref().is_some_and(|token| token.fence == fence && token.body == body) {
            return (Numbered::Fence(fence), Vec::new());
        }
        let better = |token: &&Stored<B>| token.fence >= fence || (!token.suspect && token.fence >= own);
        if let Some(token) = self.token.as_ref().filter(better) {
            return (Numbered::Stored(token.clone()), Vec::new());
        }
        self.token = Some(Stored { fence, suspect, body });
        self.fault = None;
        (Numbered::Fence(fence), vec![Tell::Token(fence)])
    }

    /// The lease runs out.
    pub(in crate::token) fn expire_lease(&mut self) {
        (self.lease, self.doubted) = (None, false);
    }

    /// Ends the lease where it is this one: whether it was, and whether it was in doubt.
    fn end_lease(&mut self, fence: u64, holder: usize) -> (bool, bool) {
        if self.lease != Some((fence, holder)) {
            return (false, false);
        }
        let doubted = self.doubted;
        self.expire_lease();
        (true, doubted)
    }

    /// Marks as suspect what is stored, and what the login under way will bring.
    fn doubt(&mut self) -> Vec<Tell> {
        self.doubted = self.lease.is_some();
        let Some(token) = &mut self.token else { return Vec::new() };
        token.suspect = true;
        vec![Tell::Token(token.fence)]
    }

    fn last(&self) -> u64 {
        self.token.as_ref().map_or(0, |token| token.fence)
    }
}
