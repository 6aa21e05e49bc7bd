internal import CWire

/// Owns the C structs of one message while protobuf-c packs it.
final class Arena {
    private var blocks: [UnsafeMutableRawPointer] = []

    /// Calls `body` with an arena that lives as long: C structs are reached by pointers, which do not keep it alive.
    static func lend<Result, Failure: Error>(
        _ body: (Arena) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let arena = Arena()
        defer { withExtendedLifetime(arena) {} }
        return try body(arena)
    }

    private init() {}

    deinit { for block in blocks { block.deallocate() } }

    /// A C message, initialised by its generated function and then filled in.
    func make<M>(
        _ initialise: (UnsafeMutablePointer<M>?) -> Void, _ fill: (inout M) throws -> Void
    ) rethrows -> UnsafeMutablePointer<M> {
        let message = make(initialise)
        try fill(&message.pointee)
        return message
    }

    /// A C message as its generated function initialises it.
    func make<M>(_ initialise: (UnsafeMutablePointer<M>?) -> Void) -> UnsafeMutablePointer<M> {
        let message: UnsafeMutablePointer<M> = allocate(1)
        initialise(message)
        return message
    }

    /// An array of C values.
    func array<V>(_ values: [V]) -> UnsafeMutablePointer<V>? {
        guard !values.isEmpty else { return nil }
        let memory: UnsafeMutablePointer<V> = allocate(values.count)
        memory.initialize(from: values, count: values.count)
        return memory
    }

    /// An array of pointers to messages, as protobuf-c wants repeated fields.
    func messages<M>(_ messages: [UnsafeMutablePointer<M>]) -> UnsafeMutablePointer<UnsafeMutablePointer<M>?>? {
        array(messages.map { $0 })
    }

    /// A C string of at most `limit` bytes.
    ///
    /// - Throws: `WireError` when the text is longer or contains NUL, which a receiver would take for its end.
    func text(_ text: String, _ field: String, limit: Int = Bound.nameBytes) throws -> UnsafeMutablePointer<CChar> {
        let utf8 = Array(text.utf8)
        guard utf8.count <= limit else {
            throw WireError(.text, "\(field) has \(utf8.count) bytes; at most \(limit) are allowed")
        }
        guard !utf8.contains(0) else { throw WireError(.text, "\(field) contains a NUL character") }
        let memory: UnsafeMutablePointer<CChar> = allocate(utf8.count + 1)
        for (index, byte) in utf8.enumerated() { memory[index] = CChar(bitPattern: byte) }
        memory[utf8.count] = 0
        return memory
    }

    /// A C string of a text for people, cut where it is too long.
    func prose(_ prose: String, _ field: String) throws -> UnsafeMutablePointer<CChar> {
        var utf8 = prose.utf8.filter { $0 != 0 }
        // A character cut in half becomes a replacement character of three bytes.
        if utf8.count > Bound.textBytes { utf8 = Array(utf8.prefix(Bound.textBytes - 3)) }
        return try text(String(decoding: utf8, as: UTF8.self), field, limit: Bound.textBytes)
    }

    private func allocate<V>(_ count: Int) -> UnsafeMutablePointer<V> {
        let memory = UnsafeMutablePointer<V>.allocate(capacity: count)
        blocks.append(UnsafeMutableRawPointer(memory))
        return memory
    }
}
