internal import Determinism
internal import Model
public import Tensors

/// Where the time of a network goes: every step of one thread, measured in turn.
public struct InferenceProfile: Sendable {
    public struct Entry: Sendable {
        /// The layer; steps that only encode the input have the layer that they are done for.
        public var layer: String
        /// What is computed: `int8 3×3 64→128`.
        public var kernel: String
        /// The median, in seconds.
        public var seconds: Double
        /// Products of a pass.
        public var products: Int
    }

    public let entries: [Entry]

    /// - Parameters:
    ///   - images: f32 [n, height, width, channels], computed together.
    ///   - repetitions: passes of which the median is taken.
    public init(
        _ network: FoldedNetwork, integers: [IntegerLayer?], kernels: InferenceKernels, images: Tensor,
        repetitions: Int = 31
    ) {
        let engine = InferenceNetwork(
            network, integers: integers, kernels: kernels, blocks: ParallelBlocks(threads: 1),
            groupSize: images.shape[0])
        let times = engine.stepTimes(images, repetitions: repetitions)
        let products = network.products
        var seen: Set<Int> = []
        entries = times.map { step in
            let layer = network.layers[step.layer]
            let isFirst = layer.weighted == nil ? false : step.isWeighted && seen.insert(step.layer).inserted
            var kernel = "rows"
            if step.isWeighted, let weighted = layer.weighted {
                let bits = integers[step.layer].map { "int\($0.input.bits)" } ?? "f32"
                let window = weighted.window.kernel
                kernel =
                    "\(bits) \(window.height)×\(window.width) \(weighted.input.channels)→\(weighted.output.channels)"
                    + (weighted.groups == 1
                        ? "" : weighted.groupWidth == 1 ? " depthwise" : " groups of \(weighted.groupWidth)")
                    + (step.isWinograd ? " Winograd" : "")
            } else if case .other(let operation) = layer.operation {
                kernel = "\(operation)".prefix { $0 != "(" }.description
            }
            return Entry(
                layer: layer.name, kernel: kernel, seconds: step.seconds,
                products: isFirst ? products[step.layer] * images.shape[0] : 0)
        }
    }

    public var seconds: Double { entries.reduce(0) { $0 + $1.seconds } }

    /// A line for each step: milliseconds, billions of products a second, share of the time.
    public var table: String {
        let (name, kernel) = (
            max(5, entries.map(\.layer.count).max() ?? 0), max(6, entries.map(\.kernel.count).max() ?? 0)
        )
        func left(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        func right(_ value: Double, _ digits: Int, _ width: Int) -> String {
            let scale = (0..<digits).reduce(1.0) { value, _ in value * 10 }
            let whole = Int((value * scale).rounded())
            var text = String(whole)
            if digits > 0 {
                text = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
                text.insert(".", at: text.index(text.endIndex, offsetBy: -digits))
            }
            return String(repeating: " ", count: max(1, width - text.count)) + text
        }
        let total = seconds
        let lines = entries.map { entry in
            left(entry.layer, name + 2) + left(entry.kernel, kernel) + right(entry.seconds * 1e3, 3, 10)
                + (entry.products > 0
                    ? right(Double(entry.products) / entry.seconds / 1e9, 1, 9)
                    : String(repeating: " ", count: 9))
                + right(entry.seconds / total * 100, 1, 7)
        }
        return
            ([left("layer", name + 2) + left("kernel", kernel) + "        ms   GMAC/s      %"] + lines
            + ["\(entries.count) steps in" + right(total * 1e3, 3, 1) + " ms"]).joined(separator: "\n")
    }
}
