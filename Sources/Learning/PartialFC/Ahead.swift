internal import CKernels

/// Memory that is needed soon. Kernels ask for it while they compute, so that nobody waits for it later.
struct Ahead {
    private let pieces: [pfc_piece]
    /// How many calls there are for it.
    private var partsLeft: Int
    private var next = 0

    init(_ pieces: [pfc_piece], parts: Int) {
        self.pieces = pieces
        partsLeft = parts
    }

    /// Calls `body` with the part that the next call is to ask for.
    mutating func withNextPart(_ body: (UnsafeMutablePointer<pfc_ahead>?) -> Void) {
        let end = next + (pieces.count - next + partsLeft - 1) / max(partsLeft, 1)
        partsLeft -= 1
        defer { next = end }
        if end == next { return body(nil) }
        pieces.withUnsafeBufferPointer { pieces in
            var part = pfc_ahead(pieces: pieces.baseAddress, count: end, next: next, offset: 0)
            body(&part)
        }
    }
}
