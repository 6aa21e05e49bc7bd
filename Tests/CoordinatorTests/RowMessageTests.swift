import Coordinator
import Model
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RowMessageTests {
    @Test func aRateThatGivesMoreThanAMessageIsRefused() {
        let head = HeadConfiguration(classCount: 4_000_000, embeddingSize: 512)
        let message = RowMessage(classes: head.classCount, share: 0.25, head: head)
        // 2048 bytes of numbers and 8 of an id for each of a million classes.
        #expect(message.excess(sampleRate: 0.5) == nil)
        let text = message.excess(sampleRate: 1)
        #expect(text?.contains("sample_rate up to 0.522") == true, "\(text ?? "")")
        #expect(message.excess(sampleRate: 0.522) == nil && message.excess(sampleRate: 0.523) != nil)
    }
}
