internal import Yams

/// A value as it was written.
///
/// YAML's own rules for what a plain word means are not asked: they make a number of `1.10`, a date of `2026-11-29`, a truth value
/// of `no` and 1230 of `20:30`. What a word means is up to the key that takes it.
struct ConfigurationScalar {
    var text: String
    /// Whether it was in quotes: then an empty one is an empty text, and not a missing value.
    var isQuoted: Bool

    /// Whether there is no value: nothing at all, or YAML's words for it.
    var isMissing: Bool { !isQuoted && ["", "~", "null", "Null", "NULL"].contains(text) }

    /// The value that a key of this shape takes of it, as JSON has it.
    ///
    /// - Parameter expandsHome: whether `~/` at the beginning of a path is this user's home directory.
    /// - Throws: a text that says what was found and what is wanted.
    func value(_ shape: ConfigurationShape, expandsHome: Bool) throws(ConfigurationValueError) -> any Sendable {
        switch shape {
        case .boolean:
            switch text.lowercased() {
            case "true", "yes", "on": return true
            case "false", "no", "off": return false
            default: throw mismatch(shape)
            }
        case .integer(let isNatural):
            let value: Int
            do { value = try DecimalText(text).integer } catch { throw mismatch(shape, error.hint) }
            guard value >= 0 || !isNatural else { throw mismatch(shape) }
            return value
        case .number(let isSingle):
            do { return try DecimalText(text).double(isSingle: isSingle) } catch { throw mismatch(shape, error.hint) }
        case .ramp:
            do {
                let value = try RunConfiguration.StageValue(text)
                return value.isRamp ? value.description : value.from
            } catch { throw mismatch(shape, error.hint) }
        case .text:
            guard !text.hasControlCharacter else {
                throw ConfigurationValueError(problem: "is \"\(text.shown)\", which has a control character in it")
            }
            return text
        case .path:
            guard !text.hasControlCharacter else {
                throw ConfigurationValueError(
                    problem: "is \"\(text.shown)\", which has a control character in it; a path is wanted")
            }
            guard expandsHome else { return text }
            do { return try HomeDirectory.expand(text) } catch {
                throw ConfigurationValueError(problem: "is \(text.shown), which \(error.problem)")
            }
        case .section, .list: throw mismatch(shape)
        }
    }

    private func mismatch(_ shape: ConfigurationShape, _ hint: String = "") -> ConfigurationValueError {
        let reason = hint.isEmpty ? "" : " (\(hint))"
        return ConfigurationValueError(
            problem: "is \(text.isEmpty ? "an empty text" : text.shown); \(shape.description) is wanted\(reason)")
    }
}

/// Why a value does not fit its key.
struct ConfigurationValueError: Error {
    var problem: String
}

extension ConfigurationScalar {
    /// A scalar of a YAML file.
    ///
    /// - Throws: an error for a tag that would give the word another meaning, such as `!env`.
    init(_ scalar: Node.Scalar) throws(ConfigurationValueError) {
        let tag = scalar.tag.description
        guard ["", "!"].contains(tag) || Self.tags.contains(tag) else {
            throw ConfigurationValueError(problem: "has the tag \(tag.shown), which is not known here")
        }
        self.init(text: scalar.string, isQuoted: scalar.style != .plain && scalar.style != .any)
    }

    /// Tags that say what the key says anyway.
    private static let tags = Set(["str", "int", "float", "bool", "null"].map { "tag:yaml.org,2002:\($0)" })
}
