import ArgumentParser
internal import CKernels
import Determinism
import Foundation
import ParameterStore
import ProcessSupport

/// What this machine can do at most, measured in the same way as what is compared with it: by `threads` threads at once.
///
/// Bytes count when they are read and again when they are written.
struct Limits: Codable {
    var threads: Int
    /// Copying one large buffer to another.
    var memcpyGigabytesPerSecond: Double
    /// Gathering random rows of 512 bf16 numbers out of a large table in huge pages.
    var gatherGigabytesPerSecond: Double
    /// Products of single-precision matrices by OpenBLAS.
    var sgemmGigaflopsPerSecond: Double
    /// Products of bf16 matrices by oneDNN; 0 where it has none.
    var oneDNNGigaflopsPerSecond: Double
    /// Products of bf16 matrices by this project's kernel, operands in the caches.
    var kernelGigaflopsPerSecond: Double
    /// What that kernel runs on.
    var kernel: String

    /// The best rate of products in bf16.
    var bestBF16GigaflopsPerSecond: Double { max(oneDNNGigaflopsPerSecond, kernelGigaflopsPerSecond) }

    /// Measures; takes some seconds and 2.2 GB.
    ///
    /// - Throws: if there is no memory.
    static func measure(threads: Int) throws -> Limits {
        let parallel = ParallelBlocks(threads: threads)
        let products = ProductRates(parallel: parallel)
        return Limits(
            threads: threads, memcpyGigabytesPerSecond: try memcpyRate(parallel),
            gatherGigabytesPerSecond: try gatherRate(parallel), sgemmGigaflopsPerSecond: products.sgemm,
            oneDNNGigaflopsPerSecond: products.oneDNN, kernelGigaflopsPerSecond: products.kernel,
            kernel: String(cString: pfc_bf16_instruction_set()))
    }

    private static let byteCount = 1 << 30

    private static func table() throws -> HugeBuffer {
        let buffer = try HugeBuffer(byteCount: byteCount)
        // Pages that were never written would all be the same one.
        buffer.base.initializeMemory(as: UInt8.self, repeating: 1, count: byteCount)
        return buffer
    }

    private static func memcpyRate(_ parallel: ParallelBlocks) throws -> Double {
        let (from, to) = (try table(), try table())
        let block = 8 << 20
        let seconds = Experiments.medianSeconds(of: 7) {
            parallel.forEach(byteCount / block) { index, _ in
                (to.base + index * block).copyMemory(from: from.base + index * block, byteCount: block)
            }
        }
        return 2 * Double(byteCount) / seconds / 1e9
    }

    private static func gatherRate(_ parallel: ParallelBlocks) throws -> Double {
        let rowBytes = 1024
        let (rows, block) = (byteCount / rowBytes, 256)
        let (from, to) = (try table(), try HugeBuffer(byteCount: byteCount / 8))
        var random = KeyedRandom(seed: 1, purpose: .test)
        let places = (0..<rows / 8).map { _ in Int64(random.below(UInt64(rows))) }
        let seconds = places.withUnsafeBufferPointer { places in
            let list = Shared(places)
            return Experiments.medianSeconds(of: 7) {
                parallel.forEach(list.value.count / block) { index, _ in
                    pfc_rows_gather(
                        from.base, list.value.baseAddress! + index * block, block, rowBytes,
                        to.base + index * block * rowBytes)
                }
            }
        }
        return 2 * Double(byteCount / 8) / seconds / 1e9
    }
}

/// `experiments limits`.
struct LimitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limits", abstract: "Measure what this machine can do at most: copies, gathers, matrix products.")

    @Option(help: "Threads that compute.") var threads = ProcessInfo.processInfo.activeProcessorCount

    func run() throws {
        try Experiments.sayJSON(Limits.measure(threads: threads))
    }
}
