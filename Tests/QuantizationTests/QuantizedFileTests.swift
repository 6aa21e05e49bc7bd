import Determinism
import Foundation
import Inference
import Quantization
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct QuantizedFileTests {
    private func quantized(groupWidth: Int = 1) throws -> (FoldedNetwork, [IntegerLayer?]) {
        var options = QuantizationOptions()
        options.bitsOf = ["joined": 6, "last": 0]
        let network = smallNetwork(groupWidth: groupWidth)
        let result = try Quantizer(
            network, options: options, kernels: try .best(), blocks: ParallelBlocks(threads: 1)
        ).run(smallImages(4))
        return (network, result.integers)
    }

    @Test(arguments: [1, 2, 8]) func aFileGivesTheSameEmbeddings(groupWidth: Int) throws {
        let files = try TemporaryFolder()
        let path = files.path + "/q.safetensors"
        let (network, integers) = try quantized(groupWidth: groupWidth)
        try QuantizedFile.write(network, integers: integers, report: "{}", to: path)
        #expect(QuantizedFile.isOne(path))
        let (read, codes, report) = try QuantizedFile.read(path)
        #expect(codes == integers && report == "{}")
        func embed(_ network: FoldedNetwork, _ integers: [IntegerLayer?]) throws -> [Float] {
            InferenceNetwork(
                network, integers: integers, kernels: try .best(), blocks: ParallelBlocks(threads: 1)
            ).embed(smallImages(3)).array(Float.self)
        }
        #expect(try embed(read, codes) == embed(network, integers))
    }

    /// Bytes of a file changed at random, parts of it cut off, numbers in its description replaced: refused in words, or a network that
    /// can be run.
    @Test func damagedFilesAreRefused() throws {
        let files = try TemporaryFolder()
        let path = files.path + "/q.safetensors"
        let (network, integers) = try quantized()
        try QuantizedFile.write(network, integers: integers, report: "", to: path)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        let length = Int(whole.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        let header = String(decoding: whole[8..<8 + length], as: UTF8.self)
        let numbers = header.matches(of: /[0-9]+/).map(\.range)
        var random = KeyedRandom(seed: 77, purpose: .test)
        var refused = 0
        for round in 0..<3000 {
            var data = whole
            switch round % 3 {
            case 0:
                data = data.prefix(Int(random.below(UInt64(data.count))))
            case 1:
                for _ in 0...random.below(4) { data[Int(random.below(UInt64(data.count)))] = UInt8(random.below(256)) }
            default:
                // A number of the description, of which most mean something.
                let range = numbers[Int(random.below(UInt64(numbers.count)))]
                let values = ["0", "-1", "1", "3", "65536", "4294967296", "9223372036854775807", "null"]
                let changed = header.replacingCharacters(
                    in: range, with: values[Int(random.below(UInt64(values.count)))])
                data = Data(withUnsafeBytes(of: UInt64(changed.utf8.count)) { Array($0) })
                data += Data(changed.utf8) + whole[(8 + length)...]
            }
            try data.write(to: URL(fileURLWithPath: path))
            do throws(SafeTensorsError) {
                let (network, integers, _) = try QuantizedFile.read(path)
                #expect(network.problem(integers: integers) == nil)
            } catch {
                refused += 1
                #expect(!error.problem.isEmpty)
            }
        }
        #expect(refused > 1500)
    }

    /// What a terminal would obey in a name is written out, wherever the name goes.
    @Test func namesAreReadAsTheyCanBeShown() throws {
        let files = try TemporaryFolder()
        let path = files.path + "/q.safetensors"
        let (network, integers) = try quantized()
        var layers = network.layers
        let first = layers[0]
        layers[0] = FoldedLayer(
            name: "first\u{1B}[2J", operation: first.operation, inputs: first.inputs, extents: first.extents)
        layers[0].first = first.first
        let renamed = FoldedNetwork(name: "a\nb", input: network.input, layers: layers, output: network.output)
        try QuantizedFile.write(renamed, integers: integers, report: "", to: path)
        let read = try QuantizedFile.read(path).network
        #expect(read.name == "a\\nb" && read.layers[0].name == "first\\u{1B}[2J")
    }

    @Test func aFileOfAnotherKindIsNamedSo() throws {
        let files = try TemporaryFolder()
        let path = files.path + "/plain.safetensors"
        try SafeTensors(tensors: ["a": Tensor([Float(1)])]).write(to: path)
        #expect(!QuantizedFile.isOne(path))
        let error = #expect(throws: SafeTensorsError.self) { try QuantizedFile.read(path) }
        #expect(error?.problem == "holds no quantised network")
    }
}
