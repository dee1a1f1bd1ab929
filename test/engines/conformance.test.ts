import {engineConformance} from './conformance.js'
import {majorsToTest, postgresqlSubject} from './postgresql/subject.js'

for (const {name, source} of majorsToTest()) engineConformance(name, () => postgresqlSubject(source))
