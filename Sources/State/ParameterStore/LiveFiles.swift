internal import Synchronization

/// The files of a store that are being written and that no manifest names yet, by their stem.
final class LiveFiles: Sendable {
    private struct State {
        var stems: Set<String> = []
        var hasReleased = false
    }
    private let state = Mutex(State())

    /// That a file is being written: as long as this value lives.
    final class Lease: Sendable {
        let stem: String
        private let files: LiveFiles

        init(_ stem: String, _ files: LiveFiles) {
            (self.stem, self.files) = (stem, files)
            files.state.withLock { _ = $0.stems.insert(stem) }
        }

        deinit {
            files.state.withLock {
                $0.stems.remove(stem)
                $0.hasReleased = true
            }
        }
    }

    var stems: Set<String> { state.withLock { $0.stems } }

    /// Whether a file may have been left behind since `expectNone`.
    var hasReleased: Bool { state.withLock { $0.hasReleased } }

    func expectNone() { state.withLock { $0.hasReleased = false } }
    func expectSome() { state.withLock { $0.hasReleased = true } }
}
