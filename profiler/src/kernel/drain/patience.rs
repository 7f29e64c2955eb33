//! Patience with sockets that nobody holds: a connection is accepted soon or not at all, and each search for its holder is at all
//! open files of the host.

/// Passes after which a holder is looked for again, at most: twice as many after each search in vain.
const PASSES_MAX: u64 = 64;

/// When the holder of a socket is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From this pass on.
    at: u64,
    /// Passes that the last search in vain put it off by.
    passes: u64,
}

impl Patience {
    /// It is looked for from a pass on.
    pub const fn until(pass: u64) -> Self {
        Self { at: pass, passes: 1 }
    }

    /// Whether it is looked for in a pass.
    pub const fn is_over(&self, pass: u64) -> bool {
        self.at <= pass
    }

    /// It is looked for in a pass, and if that is in vain no more often than before.
    pub fn lose(&mut self, pass: u64) {
        self.at = pass;
    }

    /// A search has ended in a pass, and has not found it: if it was looked for when that began, it is put off.
    pub fn searched(&mut self, begun: u64, pass: u64) {
        if self.is_over(begun) {
            self.passes = PASSES_MAX.min(self.passes * 2);
            self.at = pass + self.passes;
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::until(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_search_in_vain_puts_off_the_next() {
        let (mut patience, mut pass, mut searches) = (Patience::until(3), 0, Vec::new());
        while pass < 300 {
            if patience.is_over(pass) {
                searches.push(pass);
                patience.searched(pass, pass);
            }
            pass += 1;
        }
        assert_eq!(searches, [3, 5, 9, 17, 33, 65, 129, 193, 257]);
        patience.lose(pass);
        patience.searched(pass - 1, pass);
        assert!(patience.is_over(pass), "that search had begun before");
    }
}
