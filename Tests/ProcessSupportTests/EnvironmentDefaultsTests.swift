import Glibc
import ProcessSupport
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20)), .serialized) struct EnvironmentDefaultsTests {
    private enum Colour: String, CaseIterable { case red, green }

    private func with<Result>(_ name: String, _ value: String, _ body: () -> Result) -> Result {
        setenv(name, value, 1)
        defer { unsetenv(name) }
        return body()
    }

    @Test func variablesAreRead() {
        #expect(with("PARTIALFC_TEST_A", "a b") { EnvironmentDefaults.text("PARTIALFC_TEST_A") } == "a b")
        #expect(with("PARTIALFC_TEST_A", " a\nb ") { EnvironmentDefaults.words("PARTIALFC_TEST_A") } == ["a", "b"])
        #expect(with("PARTIALFC_TEST_A", "7") { EnvironmentDefaults.value("PARTIALFC_TEST_A", as: Int.self) } == 7)
        #expect(
            with("PARTIALFC_TEST_A", "red") { EnvironmentDefaults.choice("PARTIALFC_TEST_A", of: Colour.self) } == .red)
    }

    /// Compose files pass variables on that nobody set.
    @Test func anEmptyVariableIsNone() {
        #expect(with("PARTIALFC_TEST_B", "") { EnvironmentDefaults.text("PARTIALFC_TEST_B") } == nil)
        #expect(with("PARTIALFC_TEST_B", "") { EnvironmentDefaults.words("PARTIALFC_TEST_B") } == [])
        #expect(with("PARTIALFC_TEST_B", "") { EnvironmentDefaults.value("PARTIALFC_TEST_B", as: Int.self) } == nil)
        #expect(!EnvironmentDefaults.problems.contains { $0.contains("PARTIALFC_TEST_B") })
    }

    @Test func whatCannotBeUsedIsNamed() {
        for _ in 0..<2 {
            #expect(
                with("PARTIALFC_TEST_C", "x") { EnvironmentDefaults.value("PARTIALFC_TEST_C", as: Int.self) } == nil)
            #expect(
                with("PARTIALFC_TEST_D", "blue") { EnvironmentDefaults.choice("PARTIALFC_TEST_D", of: Colour.self) }
                    == nil)
        }
        let problems = EnvironmentDefaults.problems
        #expect(problems.contains("PARTIALFC_TEST_C=x in the environment is no whole number"))
        #expect(problems.contains("PARTIALFC_TEST_D=blue in the environment is none of red, green"))
        #expect(Set(problems).count == problems.count)
    }
}
