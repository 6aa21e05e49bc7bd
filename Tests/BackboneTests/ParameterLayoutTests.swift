import Backbone
import Tensors
import Testing

@Suite struct ParameterLayoutTests {
    @Test(arguments: [
        ("iresnet18", 24_025_600), ("iresnet34", 34_138_816), ("iresnet50", 43_590_976), ("iresnet100", 65_156_160),
    ])
    func insightFaceParameterCounts(name: String, count: Int) throws {
        #expect(try ParameterLayout(.named(name)).parameterCount == count)
    }
}
