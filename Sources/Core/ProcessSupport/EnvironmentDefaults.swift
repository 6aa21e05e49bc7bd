internal import Foundation

/// Defaults of command-line options that are taken from environment variables. An empty variable is as good as none.
public enum EnvironmentDefaults {
    /// The text of a variable, nil if it is not set or empty.
    public static func text(_ name: String) -> String? {
        let text = ProcessInfo.processInfo.environment[name] ?? ""
        return text.isEmpty ? nil : text
    }

    /// The words of a variable, separated by white space.
    public static func words(_ name: String) -> [String] {
        (text(name) ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
    }

    /// The value of a variable, nil if it is not set, empty, or no such value: the last is noted in `problems`.
    public static func value<Value: LosslessStringConvertible>(_ name: String, as type: Value.Type) -> Value? {
        guard let text = text(name) else { return nil }
        guard let value = Value(text) else {
            note("\(name)=\(text) in the environment is no \(type == Int.self ? "whole number" : "number")")
            return nil
        }
        return value
    }

    /// The value of a variable that names one of several, nil if it is not set, empty, or none of them: the last is noted in
    /// `problems`.
    public static func choice<Value: RawRepresentable & CaseIterable>(_ name: String, of type: Value.Type) -> Value?
    where Value.RawValue == String {
        guard let text = text(name) else { return nil }
        guard let value = Value(rawValue: text) else {
            let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
            note("\(name)=\(text) in the environment is none of \(known)")
            return nil
        }
        return value
    }

    /// What was wrong with variables that were asked for, each once.
    public static var problems: [String] { lock.withLock { noted } }

    private static let lock = NSLock()
    nonisolated(unsafe) private static var noted: [String] = []

    private static func note(_ problem: String) {
        lock.withLock { if !noted.contains(problem) { noted.append(problem) } }
    }
}
