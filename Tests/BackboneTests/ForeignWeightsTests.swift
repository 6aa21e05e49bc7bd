import Foundation
import Model
import Tensors
import TestSupport
import Testing

/// Backbones that others wrote: InsightFace's names, any precision, and what else is in such files.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ForeignWeightsTests {
    /// A safetensors file made by hand: names, types and bytes.
    private func write(_ tensors: [(name: String, type: String, shape: [Int], bytes: [UInt8])], to path: String) throws
    {
        var (header, contents): ([String: Any], Data) = ([:], Data())
        for tensor in tensors {
            header[tensor.name] = [
                "dtype": tensor.type, "shape": tensor.shape,
                "data_offsets": [contents.count, contents.count + tensor.bytes.count],
            ]
            contents.append(contentsOf: tensor.bytes)
        }
        let json = try JSONSerialization.data(withJSONObject: header)
        let data = withUnsafeBytes(of: UInt64(json.count).littleEndian) { Data($0) } + json + contents
        try data.write(to: URL(fileURLWithPath: path))
    }

    private func bytes<Value>(_ values: [Value]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }

    private func encoded(_ values: [Float], as type: String) -> [UInt8] {
        switch type {
        case "F16": bytes(values.map { Float16($0).bitPattern })
        case "BF16": bytes(values.map { UInt16($0.bitPattern >> 16) })
        case "F64": bytes(values.map { Double($0) })
        default: bytes(values)
        }
    }

    /// All tensors of a layout, and a counter after each normalisation, as PyTorch keeps one.
    private func tensors(
        _ layout: ParameterLayout, _ values: [Float], as type: String, prefix: String
    ) -> [(name: String, type: String, shape: [Int], bytes: [UInt8])] {
        layout.segments.flatMap { segment -> [(name: String, type: String, shape: [Int], bytes: [UInt8])] in
            let own = (prefix + segment.name, type, segment.shape, encoded(Array(values[segment.range]), as: type))
            guard segment.name.hasSuffix("running_var") else { return [own] }
            let counter = prefix + segment.name.dropLast("running_var".count) + "num_batches_tracked"
            return [own, (counter, "I64", [], bytes([Int64(7)]))]
        }
    }

    @Test(arguments: [("F32", ""), ("F16", ""), ("BF16", "module."), ("F64", "backbone.")])
    func filesOfOtherOriginSayWhatTheyAre(type: String, prefix: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/w.safetensors"
        let layout = try ParameterLayout(smallConfiguration())
        // Numbers that every type holds.
        let values = randomParameters(layout, seed: 3).array(Float.self).map { ($0 * 64).rounded() / 64 }
            .map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) }.map { Float(Float16($0)) }
        var all = tensors(layout, values, as: type, prefix: prefix)
        all.append(("head.mask", "BOOL", [3], [1, 0, 1]))
        all.append(("head.conv1.weight", "F8_E5M2", [1, 1, 1, 1], [0]))
        try write(all, to: path)
        let read = try BackboneFile.read(path)
        var expected = smallConfiguration()
        expected.name = "iresnet"
        #expect(read.layout.configuration == expected)
        #expect(read.parameters.array(Float.self) == values)
        #expect(try BackboneFile.read(path, configuration: smallConfiguration()).parameters.array(Float.self) == values)
    }

    @Test(arguments: ["iresnet-small", "mbf"]) func knownNetworksGetTheirNames(name: String) throws {
        let layout = try ParameterLayout(.named(name))
        let folder = try TemporaryFolder()
        let path = folder.path + "/w.safetensors"
        let values = randomParameters(layout, seed: 1)
        try write(tensors(layout, values.array(Float.self), as: "F32", prefix: ""), to: path)
        let read = try BackboneFile.read(path)
        #expect(read.layout.configuration == (try .named(name)))
        #expect(bits(read.parameters) == bits(values))
    }

    /// A name that is given is held against what the tensors show: those of a shallower network are a part of a deeper one's.
    @Test func aNetworkIsReadByTheNameThatIsGiven() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/w.safetensors"
        var deeper = try BackboneConfiguration.named("iresnet-small")
        deeper.depths = [1, 2, 1, 1]
        func write(_ configuration: BackboneConfiguration) throws {
            let layout = try ParameterLayout(configuration)
            let values = randomParameters(layout, seed: 1).array(Float.self)
            try self.write(tensors(layout, values, as: "F32", prefix: ""), to: path)
        }
        func refusal(_ name: String) -> String {
            do {
                _ = try BackboneFile.read(path, network: name)
                return ""
            } catch { return error.message }
        }
        try write(.named("iresnet-small", channels: 3, height: 48, width: 48, embeddingSize: 20))
        let found = try BackboneFile.read(path, network: "iresnet-small").layout.configuration
        #expect(found == (try .named("iresnet-small", channels: 3, height: 48, width: 48, embeddingSize: 20)))
        #expect(refusal("iresnet18").contains("holds iresnet-small with [1, 1, 1, 1] blocks"))
        #expect(refusal("mbf").contains("holds iresnet-small"))
        #expect(refusal("resnet").contains("no backbone named"))
        try write(deeper)
        #expect(refusal("iresnet-small").contains("holds iresnet with [1, 2, 1, 1] blocks"))
        // Not square: its tensors do not show what it is, and the name's extents do not fit.
        try write(.named("iresnet-small", height: 16, width: 32))
        #expect(refusal("iresnet-small").contains("fc.weight has shape [128, 512], iresnet-small has [128, 1024]"))
    }

    @Test func whatIsMissingOrAnotherNetworkIsNamed() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/w.safetensors"
        let layout = try ParameterLayout(smallConfiguration())
        let values = randomParameters(layout, seed: 3).array(Float.self)
        let all = tensors(layout, values, as: "F32", prefix: "")
        func refusal() -> String {
            do {
                _ = try BackboneFile.read(path)
                return ""
            } catch { return error.message }
        }
        try write(all.filter { $0.name != "layer1.1.bn2.bias" }, to: path)
        #expect(refusal().contains("has no tensor layer1.1.bn2.bias"))
        try write(
            all.map {
                $0.name == "bn2.bias" ? ($0.name, "I64", $0.shape, bytes([Int64](repeating: 1, count: 32))) : $0
            }, to: path)
        #expect(refusal().contains("bn2.bias is I64"))
        try write([("features.0.weight", "F32", [1], bytes([Float(1)]))], to: path)
        #expect(refusal().contains("not those of InsightFace's iresnet"))
        try write(all.filter { !$0.name.hasPrefix("fc.") }, to: path)
        #expect(refusal().contains("does not say which backbone"))
        try Data([0x50, 0x4B, 3, 4, 0, 0, 0, 0, 0, 0]).write(to: URL(fileURLWithPath: path))
        #expect(refusal().contains("torch.save"))
    }
}
