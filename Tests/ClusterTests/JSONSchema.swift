import ClusterHarness
import Foundation

/// As much of JSON Schema as the schema of the API uses; a word that it does not know is an error.
struct JSONSchema {
    private let definitions: [String: Any]

    init(_ data: Data) throws {
        guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any],
            let definitions = object["$defs"] as? [String: Any]
        else { throw HarnessError("the schema has no $defs") }
        self.definitions = definitions
    }

    /// What is wrong with `data` as one of the definitions; empty if nothing is.
    func problems(of data: Data, definition: String) throws -> [String] {
        let value = try JSONSerialization.jsonObject(with: data)
        return try problems(value, ["$ref": "#/$defs/\(definition)"], at: definition)
    }

    private func problems(_ value: Any, _ schema: [String: Any], at place: String) throws -> [String] {
        var found: [String] = []
        for (word, argument) in schema {
            switch (word, argument) {
            case ("description", _): break
            case ("$ref", let name as String):
                guard let next = definitions[String(name.dropFirst("#/$defs/".count))] as? [String: Any] else {
                    throw HarnessError("\(name) is not defined")
                }
                found += try problems(value, next, at: place)
            case ("type", let name as String): if !Self.isType(value, name) { found.append("\(place) is no \(name)") }
            case ("type", let names as [String]):
                if !names.contains(where: { Self.isType(value, $0) }) { found.append("\(place) is none of \(names)") }
            case ("enum", let allowed as [String]):
                if !((value as? String).map(allowed.contains) ?? false) {
                    found.append("\(place) is none of \(allowed)")
                }
            case ("anyOf", let options as [[String: Any]]):
                if try options.allSatisfy({ try !problems(value, $0, at: place).isEmpty }) {
                    found.append("\(place) fits none of anyOf")
                }
            case ("items", let items as [String: Any]):
                for (index, item) in ((value as? [Any]) ?? []).enumerated() {
                    found += try problems(item, items, at: "\(place)[\(index)]")
                }
            case ("minItems", let count as Int):
                if (value as? [Any])?.count ?? count < count { found.append("\(place) is too short") }
            case ("maxItems", let count as Int):
                if (value as? [Any])?.count ?? count > count { found.append("\(place) is too long") }
            case ("required", let names as [String]):
                let object = value as? [String: Any] ?? [:]
                found += names.filter { object[$0] == nil }.map { "\(place).\($0) is missing" }
            case ("properties", let properties as [String: Any]):
                for (name, item) in value as? [String: Any] ?? [:] {
                    guard let next = properties[name] as? [String: Any] else { continue }
                    found += try problems(item, next, at: "\(place).\(name)")
                }
            case ("additionalProperties", let rule):
                let known = Set((schema["properties"] as? [String: Any] ?? [:]).keys)
                for (name, item) in value as? [String: Any] ?? [:] where !known.contains(name) {
                    if let next = rule as? [String: Any] {
                        found += try problems(item, next, at: "\(place).\(name)")
                    } else if rule as? Bool == false {
                        found.append("\(place).\(name) is not in the schema")
                    }
                }
            default: throw HarnessError("this check does not know \(word) of the schema")
            }
        }
        return found
    }

    private static func isType(_ value: Any, _ name: String) -> Bool {
        let number = value as? NSNumber
        let isBoolean = number.map { isTruthValue($0) } ?? false
        switch name {
        case "object": return value is [String: Any]
        case "array": return value is [Any]
        case "string": return value is String
        case "null": return value is NSNull
        case "boolean": return isBoolean
        case "number": return number != nil && !isBoolean
        case "integer": return number.map { !isBoolean && $0.doubleValue.rounded() == $0.doubleValue } ?? false
        default: return false
        }
    }

    /// `true` and `false` are numbers of the type of a C character.
    private static func isTruthValue(_ number: NSNumber) -> Bool { String(cString: number.objCType) == "c" }
}
