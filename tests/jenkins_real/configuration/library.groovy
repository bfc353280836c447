// A shared library for all jobs, as "Manage Jenkins > System > Global Pipeline Libraries" makes it. NAME and REMOTE are put in.
import jenkins.plugins.git.GitSCMSource
import org.jenkinsci.plugins.workflow.libs.GlobalLibraries
import org.jenkinsci.plugins.workflow.libs.LibraryConfiguration
import org.jenkinsci.plugins.workflow.libs.SCMSourceRetriever

def retriever = new SCMSourceRetriever(new GitSCMSource(REMOTE))
retriever.libraryPath = 'jenkins-plugin/'
def library = new LibraryConfiguration(NAME, retriever)
library.defaultVersion = 'main'
library.implicit = false
GlobalLibraries.get().libraries = GlobalLibraries.get().libraries.findAll { it.name != NAME } + library
