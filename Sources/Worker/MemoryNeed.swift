import Model
import ProcessSupport

/// Work that is refused before it starts, if there is less memory than it takes.
enum MemoryNeed {
    /// - Parameters:
    ///   - available: bytes; 0 if that is not known, and then anything goes.
    ///   - work: what it is for.
    /// - Throws: `BackboneError` with both numbers.
    static func check(_ needed: Int, of available: Int, _ work: () -> String) throws {
        guard available > 0, needed > available else { return }
        throw BackboneError(
            .invalidInput,
            "\(work()) takes about \(Units.bytes(needed)) of memory, of which \(Units.bytes(available)) are available: lower --count"
        )
    }
}
