import {engineConformance} from './conformance.js'
import {family, mysqlFamilySubject} from './mysql-family/subject.js'
import {majorsToTest, postgresqlSubject} from './postgresql/subject.js'

for (const {name, source} of majorsToTest()) engineConformance(name, () => postgresqlSubject(source))
for (const member of family) engineConformance(member.name, () => mysqlFamilySubject(member), member.needs)
