import ClusterConsole
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SparklineTests {
    @Test func theScaleIsFromTheLeastToTheLargest() {
        #expect(Sparkline.text([0, 1, 2, 3, 4, 5, 6, 7], width: 8) == "▁▂▃▄▅▆▇█")
        #expect(Sparkline.text([5, 5, 5], width: 8) == "▁▁▁")
    }

    @Test func manyValuesAreMeansOfNeighbours() {
        #expect(Sparkline.text((0..<800).map { Float($0) }, width: 8) == "▁▂▃▄▅▆▇█")
    }

    @Test func whatIsNotKnownIsBlank() {
        #expect(Sparkline.text([0, nil, .nan, 7], width: 4) == "▁  █")
        #expect(Sparkline.text([nil, nil], width: 4) == "  ")
        #expect(Sparkline.text([], width: 4).isEmpty && Sparkline.text([1], width: 0).isEmpty)
    }

    @Test func hugeValuesDoNotOverflow() {
        let text = Sparkline.text([.greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0], width: 3)
        #expect(text == "█▁▅")
    }
}
