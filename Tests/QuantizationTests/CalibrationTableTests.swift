import Inference
import Model
import Quantization
import TestSupport
import Testing

/// ncnn's calibration tables.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CalibrationTableTests {
    private let parameters = """
        7767517
        6 6
        Input                    in0                      0 1 in0
        Convolution              convrelu_0               1 1 in0 1 0=8 1=3 5=1 6=216 9=1
        ConvolutionDepthWise     convdw_0                 1 1 1 2 0=8 1=3 5=1 6=72 7=8
        Convolution              conv_1                   1 1 2 3 0=8 1=1 5=1 6=64
        BinaryOp                 add_0                    2 1 3 1 4 0=0
        InnerProduct             linear_0                 1 1 4 out0 0=6 1=1 2=768
        """

    private func integers(zero: Int = 0, groupWidth: Int = 1) -> [IntegerLayer?] {
        smallNetwork(groupWidth: groupWidth).layers.enumerated().map { position, layer in
            guard position != 2, let weighted = layer.weighted else { return nil }
            return IntegerLayer(
                input: Encoding(bits: 8, scale: 2.5 + Float(position), zero: position == 1 ? zero : 0),
                encoding: weighted,
                scales: (0..<weighted.output.channels).map { 100 + Float($0) / 4 })
        }
    }

    @Test func scalesStandUnderTheNamesOfTheFile() throws {
        let text = try CalibrationTable.text(smallNetwork(), integers: integers(), parameters: parameters)
        let eight = "100.0 100.25 100.5 100.75 101.0 101.25 101.5 101.75"
        #expect(
            text == """
                convrelu_0_param_0 \(eight)
                convdw_0_param_0 \(eight)
                linear_0_param_0 100.0 100.25 100.5 100.75 101.0 101.25
                convrelu_0 2.5
                convdw_0 3.5
                linear_0 5.5

                """)
    }

    @Test func whatDoesNotFitIsRefusedInWords() {
        func problem(_ integers: [IntegerLayer?], _ parameters: String, groupWidth: Int = 1) -> String {
            do throws(CalibrationTable.Problem) {
                let network = smallNetwork(groupWidth: groupWidth)
                _ = try CalibrationTable.text(network, integers: integers, parameters: parameters)
                return ""
            } catch { return error.description }
        }
        #expect(
            problem(integers(zero: -127), parameters)
                == "deep has a zero point, and ncnn's tables have none: quantise with --zero-point off")
        #expect(
            problem(
                integers(groupWidth: 2), parameters.replacing("6=72 7=8", with: "6=144 7=4"), groupWidth: 2
            ).contains("deep has groups of 2 channels"))
        #expect(problem(integers(), "").contains("does not begin with 7767517"))
        #expect(problem(integers(), "7767517\n1 1\n").contains("0 layers with weights; small has 4"))
        #expect(
            problem(integers(), parameters.replacing("6=64", with: "6=128")).contains(
                "conv_1 of the .param file has 8 outputs and 128 weights; joined, which stands there, has 8 and 64"))
        #expect(problem(integers(), parameters.replacing("6=64", with: "6=x")).contains("cannot be read"))
    }
}
