import Foundation
import Model
import ONNX
import TestSupport
import Testing

/// Constants with an extent of 0, whose other extents nobody could multiply: files that onnx's helpers made, in base64.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EmptyConstantTests {
    private static let ends = (
        // x [N, 1, 2, 2] → Flatten → Gemm with W [4, 4], after the node that the file is about.
        plain:
            "CAg6pgEKDwoBeBIBZiIHRmxhdHRlbgoPCgFmCgFXEgF5IgRHZW1tEgFnKksIBAgEEAFCAVdKQAAAgD8AAAAAAAAAAAAAAAAAAAAA"
            + "AACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/AAAAAAAAAAAAAAAAAAAAAAAAgD9aHAoBeBIXChUIARIRCgMSAU4KAggBCgIIAgoCCAJi"
            + "FAoBeRIPCg0IARIJCgMSAU4KAggEQgQKABAN",
        flatten:
            "CAg63QEKHAoBRRIBZSIHRmxhdHRlbioLCgRheGlzGAGgAQIKDwoBeBIBZiIHRmxhdHRlbgoPCgFmCgFXEgF5IgRHZW1tEgFnKksI"
            + "BAgEEAFCAVdKQAAAgD8AAAAAAAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/AAAAAAAAAAAAAAAAAAAAAAAAgD8q"
            + "FwgACICAgICAIAiAgICAgCAQAUIBRUoAWhwKAXgSFwoVCAESEQoDEgFOCgIIAQoCCAIKAggCYhQKAXkSDwoNCAESCQoDEgFOCgII"
            + "BEIECgAQDQ==",
        dequantize:
            "CAg6kQIKLQoBWgoBUwoCWlASAmR6IhBEZXF1YW50aXplTGluZWFyKgsKBGF4aXMYAaABAgoPCgF4EgFmIgdGbGF0dGVuCg8KAWYK"
            + "AVcSAXkiBEdlbW0SAWcqSwgECAQQAUIBV0pAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/AAAAAAAAAAAAAAAAAAAAAAAAgD8AAAAA"
            + "AAAAAAAAAAAAAAAAAACAPyoZCAAIAgiAgICAgCAIgICAgIAgEANCAVpKACoRCAIQAUIBU0oIAACAPwAAgD8qDAgCEANCAlpQSgIA"
            + "AFocCgF4EhcKFQgBEhEKAxIBTgoCCAEKAggCCgIIAmIUCgF5Eg8KDQgBEgkKAxIBTgoCCARCBAoAEA0=",
        slice:
            "CAg6pwIKHgoBQQoCc3QKAmVuCgJheAoCc3ASAnNsIgVTbGljZQoPCgF4EgFmIgdGbGF0dGVuCg8KAWYKAVcSAXkiBEdlbW0SAWcq"
            + "SwgECAQQAUIBV0pAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/AAAAAAAAAAAAAAAAAAAAAAAAgD8AAAAAAAAAAAAAAAAAAAAAAACA"
            + "PyoPCP////8HCAAQB0IBQUoAKhIIARAHQgJzdEoI//////////8qEggBEAdCAmVuSggAAAAAAAAAwCoSCAEQB0ICYXhKCAAAAAAA"
            + "AAAAKhIIARAHQgJzcEoI//////////9aHAoBeBIXChUIARIRCgMSAU4KAggBCgIIAgoCCAJiFAoBeRIPCg0IARIJCgMSAU4KAggE"
            + "QgQKABAN"
    )

    private func read(_ base64: String) throws {
        let folder = try TemporaryFolder()
        _ = try ONNXFile.read(folder.write([UInt8](#require(Data(base64Encoded: base64))), to: "some.onnx"))
    }

    @Test func theFileWithoutThemIsRead() throws { try read(Self.ends.plain) }

    @Test func extentsThatCannotBeMultipliedAreRefused() throws {
        for file in [Self.ends.flatten, Self.ends.dequantize] {
            let error = #expect(throws: ONNXError.self) { try read(file) }
            #expect("\(error!)".contains("its extents are negative, too many or too large"))
        }
    }

    @Test func rowsOfNothingCostWhatTheyAre() throws {
        let error = #expect(throws: ONNXError.self) { try read(Self.ends.slice) }
        #expect("\(error!)".contains("computes more constants than it is large"))
    }
}
