import Foundation
import Model
import ONNX
import Tensors
import TestSupport
import Testing

/// Constants that are turned round, and decoded twice: files that onnx's helpers made, in base64.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TransposedConstantTests {
    /// [3, 1], transposed and added to three channels; a transposed slope [1, 1]; [0] reshaped to [0, 2⁶²], transposed and reshaped.
    private static let bias =
        "CAg6rgEKIQoBYhICYnQiCVRyYW5zcG9zZSoNCgRwZXJtQAFAAKABBwoZCgF4EgFwIhFHbG9iYWxBdmVyYWdlUG9vbAoPCgFwEgF2"
        + "IgdGbGF0dGVuCg8KAXYKAmJ0EgF5IgNBZGQSAWcqFwgDCAEQAUIBYkoMAACAPwAAAEAAAEBAWhsKAXgSFgoUCAESEAoCCAEKAggD"
        + "CgIICAoCCAhiEwoBeRIOCgwIARIICgIIAQoCCAFCBAoAEBE="
    private static let slope =
        "CAg6qAEKIQoBYhICYnQiCVRyYW5zcG9zZSoNCgRwZXJtQAFAAKABBwoRCgF4CgJidBIBcSIFUFJlbHUKGQoBcRIBcCIRR2xvYmFs"
        + "QXZlcmFnZVBvb2wKDwoBcBIBeSIHRmxhdHRlbhIBZyoPCAEIARABQgFiSgQAAAA/WhsKAXgSFgoUCAESEAoCCAEKAggBCgIICAoC"
        + "CAhiEwoBeRIOCgwIARIICgIIAQoCCAFCBAoAEBE="
    private static let nothing =
        "CAg66AEKEwoBdwoCczESAWEiB1Jlc2hhcGUKIAoBYRIBYiIJVHJhbnNwb3NlKg0KBHBlcm1AAUAAoAEHChMKAWIKAnMyEgFjIgdS"
        + "ZXNoYXBlChkKAXgSAXAiEUdsb2JhbEF2ZXJhZ2VQb29sCg8KAXASAXkiB0ZsYXR0ZW4SAWcqCQgAEAFCAXdKACoaCAIQB0ICczFK"
        + "EP//////////AAAAAAAAAEAqEggBEAdCAnMySgj//////////1obCgF4EhYKFAgBEhAKAggBCgIIAQoCCAgKAggIYhMKAXkSDgoM"
        + "CAESCAoCCAEKAggBQgQKABAR"
    /// DequantizeLinear of DequantizeLinear.
    private static let twice =
        "CAg6lQIKIQoBQwoCUzEKAloxEgJkMSIQRGVxdWFudGl6ZUxpbmVhcgoiCgJkMQoCUzEKAloxEgJkMiIQRGVxdWFudGl6ZUxpbmVh"
        + "cgoPCgF4EgFmIgdGbGF0dGVuCg8KAWYKAVcSAXkiBEdlbW0SAWcqSwgECAQQAUIBV0pAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/"
        + "AAAAAAAAAAAAAAAAAAAAAAAAgD8AAAAAAAAAAAAAAAAAAAAAAACAPyoNCAQQA0IBQ0oEAQIDBCoMEAFCAlMxSgQAAAA/KgkQA0IC"
        + "WjFKAQBaHAoBeBIXChUIARIRCgMSAU4KAggBCgIIAgoCCAJiFAoBeRIPCg0IARIJCgMSAU4KAggEQgQKABAN"

    private func read(_ base64: String) throws -> [Float] {
        let folder = try TemporaryFolder()
        let path = try folder.write([UInt8](#require(Data(base64Encoded: base64))), to: "some.onnx")
        return try ONNXFile.read(path).parameters.array(Float.self)
    }

    @Test func oneRowOrColumnIsAVector() throws {
        #expect(try read(Self.bias) == [1, 2, 3])
        #expect(try read(Self.slope) == [0.5])
    }

    @Test func nothingCannotBecomeRows() throws {
        #expect(throws: ONNXError.self) { try read(Self.nothing) }
    }

    @Test func codesAreDecodedOnce() throws {
        let error = #expect(throws: ONNXError.self) { try read(Self.twice) }
        #expect("\(error!)".contains("decoded already"))
    }
}
