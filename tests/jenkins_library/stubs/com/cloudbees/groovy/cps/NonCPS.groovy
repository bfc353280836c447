package com.cloudbees.groovy.cps

/** Jenkins' mark of methods that run at one go; here all do. */
@interface NonCPS {
}
