internal import COneDNN
internal import Model

/// What one compute thread needs and shares with no other: a stream and memory for what does not last.
final class KernelThread: @unchecked Sendable {
    let stream: dnnl_stream_t
    private var scratchMemory: UnsafeMutableRawPointer
    private(set) var scratchBytes: Int
    /// Values and gradients that are not needed for long.
    let arena: FloatMemory
    /// The gradient of one layer's weights in oneDNN's layout.
    let packedGradient: FloatMemory
    /// Partial sums of the normalisations.
    let work: FloatMemory
    /// A gradient of one layer's output in bf16.
    let halves: FloatMemory

    /// - Parameters are floats.
    init(arenaCount: Int, packedGradientCount: Int, channels: Int, halvesCount: Int) throws(BackboneError) {
        let engine = try OneDNN.engine.get()
        var stream: dnnl_stream_t?
        try OneDNN.check(
            dnnl_stream_create(&stream, engine.handle, UInt32(dnnl_stream_default_flags.rawValue)), "create a stream")
        self.stream = stream!
        scratchBytes = 1 << 12
        scratchMemory = .allocate(byteCount: scratchBytes, alignment: 64)
        arena = FloatMemory(count: arenaCount)
        packedGradient = FloatMemory(count: packedGradientCount)
        // Three channel vectors of doubles, three of floats.
        work = FloatMemory(count: 9 * channels)
        halves = FloatMemory(count: halvesCount)
    }

    deinit {
        dnnl_stream_destroy(stream)
        scratchMemory.deallocate()
    }

    /// Scratch memory of at least `bytes`, valid until the next call.
    func scratch(_ bytes: Int) -> UnsafeMutableRawPointer {
        if bytes > scratchBytes {
            scratchMemory.deallocate()
            scratchMemory = .allocate(byteCount: bytes, alignment: 64)
            scratchBytes = bytes
        }
        return scratchMemory
    }

    /// The doubles at the start of `work`: three channel vectors.
    func withDoubles<R>(_ body: (UnsafeMutablePointer<Double>) -> R) -> R {
        work.pointer.withMemoryRebound(to: Double.self, capacity: work.count / 3, body)
    }

    /// One OpenMP thread for whatever oneDNN does on the calling thread: parallelism is over micro-batches.
    static func enter() { omp_set_num_threads(1) }

    var memoryBytes: Int {
        scratchBytes + [packedGradient, work, arena, halves].reduce(0) { $0 + $1.byteCount }
    }
}

/// Activations, weights or gradients that a kernel may write.
typealias Floats = UnsafeMutablePointer<Float>

/// Floats at an aligned address, freed with their owner.
final class FloatMemory: @unchecked Sendable {
    let pointer: Floats
    let count: Int
    var byteCount: Int { count * 4 }

    init(count: Int) {
        self.count = count
        let raw = UnsafeMutableRawPointer.allocate(byteCount: max(64, count * 4), alignment: 64)
        pointer = raw.bindMemory(to: Float.self, capacity: max(16, count))
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }
}
